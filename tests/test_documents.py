from typing import Annotated, Literal

import pytest
from pydantic import Field

from transferbench.documents import Document, read_document, top_level_keys
from transferbench.errors import DocumentError


class Dog(Document):
    kind: Literal["dog"]
    barks: bool


class Cat(Document):
    kind: Literal["cat"]
    lives: int = 9


class House(Document):
    name: str
    rooms: tuple[int, ...] = Field(min_length=1)
    height: float
    pets: tuple[Annotated[Dog | Cat, Field(discriminator="kind")], ...] = ()


GOOD = """
name: Number 9
rooms: [1, 2]
height: 1e-4
pets:
  - {kind: dog, barks: true}
  - {kind: cat}
"""


@pytest.fixture
def read(tmp_path):
    def reader(text):
        path = tmp_path / "house.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_document(path, House)

    return reader


@pytest.fixture
def problems(read):
    def reader(text):
        with pytest.raises(DocumentError) as caught:
            read(text)
        return str(caught.value)

    return reader


def test_a_good_document_is_read(read):
    house = read(GOOD)
    assert house.rooms == (1, 2)
    assert house.height == 1e-4
    assert house.pets == (Dog(kind="dog", barks=True), Cat(kind="cat", lives=9))


def test_all_problems_are_listed_with_line_and_path(problems):
    text = problems("name: 3\nroms: [1]\nheight: tall\npets:\n  - {kind: dog, barks: 1}\n  - {kind: cow}\n")
    assert "6 problems" in text
    assert "line 1: name: must be text, got 3" in text
    assert "line 2: roms: unknown key. Did you mean 'rooms'? Known: height, name, pets, rooms" in text
    assert "line 1: rooms: this key is required" in text
    assert "line 3: height: must be a number, got text 'tall'" in text
    assert "line 5: pets[0].barks: must be true or false, got 1" in text
    assert "line 6: pets[1]: 'kind' must be one of 'dog', 'cat', got 'cow'" in text


def test_the_keys_of_a_tagged_choice_are_suggested(problems):
    assert "pets[0].live: unknown key. Did you mean 'lives'?" in problems(
        GOOD.replace("{kind: cat}", "{kind: cat}\n").replace("{kind: dog, barks: true}", "{kind: cat, live: 3}")
    )


def test_a_missing_tag_is_named(problems):
    assert "pets[0]: needs a key 'kind'" in problems(GOOD.replace("{kind: dog, barks: true}", "{barks: true}"))


def test_a_key_written_twice_is_refused_with_its_line(problems):
    text = problems(GOOD + "name: Number 10\n")
    assert "1 problem\n" in text
    assert "line 8: name: the key is written twice" in text


def test_a_nested_key_written_twice_is_found(problems):
    assert "pets[1].lives: the key is written twice" in problems(
        GOOD.replace("{kind: cat}", "{kind: cat, lives: 1, lives: 2}")
    )


@pytest.mark.parametrize(("scalar", "value"), [("010", 10), ("-3", -3), ("+4", 4)])
def test_whole_numbers_are_those_of_yaml_1_2(read, scalar, value):
    assert read(GOOD.replace("[1, 2]", f"[{scalar}]")).rooms == (value,)


@pytest.mark.parametrize("scalar", ["1:30", "1_000", "0x1F", "yes", "1.0"])
def test_other_scalars_are_no_whole_numbers(problems, scalar):
    assert "rooms[0]: must be a whole number" in problems(GOOD.replace("[1, 2]", f"[{scalar}]"))


@pytest.mark.parametrize("scalar", ["no", "off", "yes", "on", "True"])
def test_only_true_and_false_are_truth_values(problems, scalar):
    assert "must be true or false" in problems(GOOD.replace("barks: true", f"barks: {scalar}"))


def test_a_whole_number_may_stand_for_a_number(read):
    assert read(GOOD.replace("1e-4", "3")).height == 3.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("name: [", "is not YAML: line "),
        ("name: a\n  rooms: [1]\n", "is not YAML: line 2, column 8: mapping values are not allowed here; look at the"),
        ("name: !!python/object:os.system {}", "is not YAML"),
        (b"name: \xff\xfe", "is no text in UTF-8 (byte 7)"),
        ("name: a\n---\nname: b\n", "is not YAML"),
    ],
)
def test_what_is_no_document_is_one_clear_error(problems, text, problem):
    assert problem in problems(text)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read"):
        read_document(tmp_path / "none.yaml", House)


def test_documents_are_frozen(read):
    with pytest.raises(ValueError, match="frozen"):
        read(GOOD).name = "Number 10"


def test_top_level_keys_of_anything(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\nb: 2\n")
    assert top_level_keys(path) == {"a", "b"}
    path.write_text("[")
    assert top_level_keys(path) == set()
    assert top_level_keys(tmp_path / "none.yaml") == set()
