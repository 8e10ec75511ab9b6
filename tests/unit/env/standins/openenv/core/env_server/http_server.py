# SPDX-License-Identifier: MIT


class HTTPEnvServer:
    def __init__(self, env, action_cls, observation_cls, max_concurrent_envs=None):
        self.env = env


def create_app(env, action_cls, observation_cls, **named):
    return HTTPEnvServer(env, action_cls, observation_cls, **named)
