# SPDX-License-Identifier: MIT
import abc


class Client(abc.ABC):
    def __init__(self, client_or_config):
        self.client = client_or_config

    @abc.abstractmethod
    async def get_native_response(self, prompt): ...

    async def get_response(self, prompt, model, sampling_args, tools=None, **kwargs):
        return await self.get_native_response(prompt)
