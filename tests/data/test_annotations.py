import gzip
import subprocess
import sys
import tarfile
import textwrap

import pytest

from transferbench.data.annotations import MAX_XML_BYTES, read_annotation
from transferbench.errors import DatasetError
from transferbench.types.regions import Box

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
BOMB = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotation>&l9;</annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


def written(tmp_path, text):
    path = tmp_path / "a.xml"
    path.write_text(text)
    return path


def test_boxes_are_read_by_tag_and_count_from_one(tmp_path):
    text = "<annotation><object><name>person</name><bndbox><xmax>20</xmax><xmin>3</xmin><ymax>30</ymax><ymin>4.7</ymin>"
    found = read_annotation(written(tmp_path, f"{text}</bndbox></object></annotation>"))
    assert found.objects[0].box == Box(2, 3, 20, 30)


def test_parts_lend_no_name_and_no_box(tmp_path):
    part = f"<part><name>head</name>{BOX}</part>"
    own = BOX.replace("2", "9")
    found = read_annotation(written(tmp_path, f"<annotation><object>{part}<name>cat</name>{own}</object></annotation>"))
    assert [(o.name, o.box) for o in found.objects] == [("cat", Box(0, 0, 9, 9))]


def test_difficult_may_be_absent_and_actions_are_read(tmp_path):
    actions = "<actions><jumping>1</jumping><other>0</other></actions>"
    body = f"<object><name>person</name>{BOX}{actions}</object><object><name>cat</name><difficult>1</difficult>{BOX}"
    one, other = read_annotation(written(tmp_path, f"<annotation>{body}</object></annotation>")).objects
    assert (one.difficult, one.actions) == (False, {"jumping": True, "other": False})
    assert (other.difficult, other.actions) == (True, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "has a document type or entities"),
        (OUTSIDE, "has a document type or entities"),
        ("<!DOCTYPE annotation><annotation/>", "has a document type or entities"),
        ("<annotation>" + "<object/>" * (MAX_XML_BYTES // 9) + "</annotation>", "is larger than"),
        ("<annotation><object>", "is not XML"),
        ("", "is not XML"),
        (f"<annotation><object>{BOX}</object></annotation>", "<object> has no <name>"),
        ("<annotation><object><name>cat</name></object></annotation>", "an object has no bndbox"),
        (
            f"<annotation><object><name>cat</name>{BOX.replace('>2<', '>0<')}</object></annotation>",
            "ends before it begins",
        ),
        (
            f"<annotation><object><name>cat</name>{BOX.replace('>2<', '>two<')}</object></annotation>",
            "could not convert",
        ),
    ],
)
def test_what_is_no_annotation_is_refused_by_name(tmp_path, text, told):
    path = written(tmp_path, text)
    with pytest.raises(DatasetError) as raised:
        read_annotation(path)
    assert str(raised.value).startswith(str(path))
    assert told in str(raised.value)


def test_bombs_take_no_memory(tmp_path):
    written(tmp_path, BOMB)
    header = tarfile.TarInfo("pax")  # with a name of 200 MB
    header.type, header.size = tarfile.XHDTYPE, 200 << 20
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=1) as file:
        file.write(header.tobuf() + b"%d path=" % header.size)
        for _ in range(200):
            file.write(b"a" * (1 << 20))
    script = f"""
        from pathlib import Path
        from PIL import Image
        from transferbench.data.annotations import read_annotation
        from transferbench.data.archives import unpack
        from transferbench.data.images import read_image
        from transferbench.errors import DatasetError
        def unpack_there(path):
            unpack(path, path.with_name("out"))
        Image.new("1", (10_000, 6_000)).save({str(tmp_path / "bomb.png")!r})
        top = Path({str(tmp_path)!r})
        for read, name in ((read_annotation, "a.xml"), (read_image, "bomb.png"), (unpack_there, "bomb.tar.gz")):
            try:
                read(top / name)
            except DatasetError:
                print("refused")
        print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    *refused, peak_kib = done.stdout.split()
    assert refused == ["refused"] * 3
    assert int(peak_kib) < 300 << 10
