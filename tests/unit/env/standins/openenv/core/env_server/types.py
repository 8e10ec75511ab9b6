# SPDX-License-Identifier: MIT


class Action:
    """Of pydantic's models what is needed: fields from the annotations, checked, and a schema."""

    metadata: dict = {}

    def __init__(self, **fields):
        self.__dict__.update(fields)

    @classmethod
    def fields(cls):
        return {k: v for c in cls.__mro__ for k, v in c.__dict__.get("__annotations__", {}).items()}

    @classmethod
    def model_json_schema(cls):
        kinds = {str: "string", int: "integer", dict: "object"}
        properties = {name: {"type": kinds[kind], "title": name} for name, kind in cls.fields().items()}
        return {"type": "object", "description": cls.__doc__, "properties": properties, "additionalProperties": False,
                "required": [n for n in properties if not hasattr(cls, n)]}

    @classmethod
    def model_validate(cls, data):
        wrong = [n for n, kind in cls.fields().items() if not isinstance(data.get(n, getattr(cls, n, None)), kind)]
        if wrong or set(data) - set(cls.fields()):
            raise ValueError(f"wrong: {', '.join(wrong + sorted(set(data) - set(cls.fields())))}")
        return cls(**data)


class Observation:
    def __init__(self, done=False, reward=None, metadata=None, **fields):
        self.done, self.reward, self.metadata, self.fields = done, reward, metadata or {}, fields
