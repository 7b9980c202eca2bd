"""Names that a recipe may use: of datasets and of nets. An unknown one gets a suggestion."""

from typing import Annotated

from pydantic import AfterValidator

from transferbench.lookup import NET_SOURCES, OWN_DATA, dataset_names, is_dataset, is_net, net_names, unknown

TABLE_1 = ("A", "A-LRN", "B", "C", "D", "E", "B-5x5")
"""With the shallow net that Sect. 4.1 holds against B."""


def _known_dataset(name: str) -> str:
    if not name.startswith(OWN_DATA) and not is_dataset(name):
        raise ValueError(unknown("dataset", name, [*dataset_names(), *(f"{prefix}PATH" for prefix in OWN_DATA)]))
    return name


DatasetName = Annotated[str, AfterValidator(_known_dataset)]


def _net_name(name: str) -> str:
    if not is_net(name, TABLE_1):
        raise ValueError(unknown("net", name, [*net_names(TABLE_1), *(f"{source}NAME" for source in NET_SOURCES)]))
    return name


NetName = Annotated[str, AfterValidator(_net_name)]
