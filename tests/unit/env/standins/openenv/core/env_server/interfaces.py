# SPDX-License-Identifier: MIT


class Environment:
    SUPPORTS_CONCURRENT_SESSIONS = False

    async def reset_async(self, **arguments):
        return self.reset(**arguments)

    async def step_async(self, action):
        return self.step(action)

    def close(self):
        pass
