"""Print the configuration's JSON schema for editors, a line for each definition."""

import json

from liif.config import Experiment


def schema() -> str:
    whole = Experiment.model_json_schema()
    parts = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in whole.pop("$defs").items()]
    return '{"$defs": {\n' + ",\n".join(parts) + "},\n" + json.dumps(whole)[1:] + "\n"


if __name__ == "__main__":
    print(schema(), end="")
