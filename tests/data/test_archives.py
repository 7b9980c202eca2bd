import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from transferbench.data.archives import Limits, unpack
from transferbench.data.record import InnerArchive
from transferbench.errors import DatasetError


def tar_bytes(*members, mode="w"):
    """Build a tar of (name, content) and ready-made TarInfo members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            data = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_bytes(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return file.getvalue()


@pytest.fixture
def place(tmp_path):
    """An archive's name and the folder it is unpacked in; everything around it is watched."""

    def write(data, name="a.tar"):
        (tmp_path / "in").mkdir(exist_ok=True)
        path = tmp_path / "in" / name
        path.write_bytes(data)
        return path, tmp_path / "out"

    return write


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("mode", "name"), [("w", "a.tar"), ("w:gz", "a.tar.gz"), ("w:gz", "a.tgz")])
def test_a_tar_is_unpacked_over_what_is_there(place, mode, name):
    path, out = place(
        tar_bytes(special("VOC", tarfile.DIRTYPE), ("VOC/a.txt", b"one"), ("VOC/b/c.txt", b"two"), mode=mode), name
    )
    (out / "VOC").mkdir(parents=True)
    (out / "VOC" / "kept.txt").write_bytes(b"kept")
    (out / "VOC" / "a.txt").write_bytes(b"old")
    assert unpack(path, out) == 2
    assert tree(out) == {"VOC/a.txt": b"one", "VOC/b/c.txt": b"two", "VOC/kept.txt": b"kept"}


def test_a_zip_is_unpacked_without_leftovers_of_other_systems(place):
    members = [
        ("c/a.txt", b"one", 0o644),
        ("__MACOSX/c/._a.txt", b"junk", 0),
        ("c/._a.txt", b"junk", 0),
        ("c/", b"", 0),
    ]
    path, out = place(zip_bytes(*members), "a.zip")
    assert unpack(path, out) == 1
    assert tree(out) == {"c/a.txt": b"one"}


def test_an_archive_within_a_zip_is_unpacked_on_the_way(place):
    inner = tar_bytes(("101_ObjectCategories/ant/image_0001.jpg", b"ant"), mode="w:gz")
    path, out = place(zip_bytes(("caltech-101/101_ObjectCategories.tar.gz", inner, 0)), "caltech-101.zip")
    unpack(path, out, inner=[InnerArchive(pattern="*/101_ObjectCategories.tar.gz", into=".")])
    assert tree(out) == {"101_ObjectCategories/ant/image_0001.jpg": b"ant"}


def test_a_tar_per_class_goes_into_a_folder_per_class(place):
    classes = [(f"{wnid}.tar", tar_bytes((f"{wnid}_1.JPEG", wnid.encode()))) for wnid in ("n01440764", "n02119789")]
    path, out = place(tar_bytes(*classes))
    assert unpack(path, out, inner=[InnerArchive(pattern="n????????.tar", into="{stem}")]) == 2
    assert tree(out) == {f"{w}/{w}_1.JPEG": w.encode() for w in ("n01440764", "n02119789")}


HOSTILE = [
    (tar_bytes(("../evil.txt", b"x")), "a.tar", "leads out of the folder"),
    (tar_bytes(("ok/../../evil.txt", b"x")), "a.tar", "leads out of the folder"),
    (tar_bytes(("/evil.txt", b"x")), "a.tar", "leads out of the folder"),
    (tar_bytes(("..\\evil.txt", b"x")), "a.tar", "leads out of the folder"),
    (tar_bytes(("C:/evil.txt", b"x")), "a.tar", "leads out of the folder"),
    (tar_bytes(special("link", tarfile.SYMTYPE, "/etc"), ("link/evil.txt", b"x")), "a.tar", "is a link to '/etc'"),
    (tar_bytes(("a", b"x"), special("hard", tarfile.LNKTYPE, "a")), "a.tar", "is a link to 'a'"),
    (tar_bytes(special("pipe", tarfile.FIFOTYPE)), "a.tar", "is a device or a pipe"),
    (tar_bytes(special("disk", tarfile.BLKTYPE)), "a.tar", "is a device or a pipe"),
    (tar_bytes(("a", b"x"), ("a", b"y")), "a.tar", "is in the archive twice"),
    (zip_bytes(("../evil.txt", b"x", 0)), "a.zip", "leads out of the folder"),
    (zip_bytes(("link", b"/etc", stat.S_IFLNK | 0o777)), "a.zip", "is a link or a device"),
    (b"<!DOCTYPE html><html>Google Drive: file too large to scan</html>", "a.tar", "is a web page saved"),
    (b"\n <html><body>404</body></html>", "a.zip", "is a web page saved"),
    (b"", "a.tar", "is empty"),
    (b"no archive at all" * 100, "a.tar", "is damaged"),
    (b"no archive at all" * 100, "a.zip", "is damaged"),
    (b"no archive at all" * 100, "a.tar.gz", "is damaged"),
    (tar_bytes(("first", b"x" * 2000), ("second", b"y" * 5000))[:4000], "a.tar", "is damaged"),
    (tar_bytes(("first", bytes(range(256)) * 400), mode="w:gz")[:-20], "a.tar.gz", "is damaged"),
]


@pytest.mark.parametrize(("data", "name", "told"), HOSTILE)
def test_a_hostile_or_broken_archive_is_refused_and_nothing_of_it_stays(place, tmp_path, data, name, told):
    path, out = place(data, name)
    before = tree(tmp_path)
    with pytest.raises(DatasetError) as raised:
        unpack(path, out)
    assert told in str(raised.value)
    assert str(path) in str(raised.value)
    assert tree(tmp_path) == before
    assert not list(out.iterdir()) if out.exists() else True


def test_what_an_inner_archive_does_counts_as_well(place, tmp_path):
    inner = tar_bytes(("../../evil.txt", b"x"))
    path, out = place(tar_bytes(("n01440764.tar", inner)))
    with pytest.raises(DatasetError, match="leads out of the folder"):
        unpack(path, out, inner=[InnerArchive(pattern="n*.tar", into="{stem}")])
    assert not (tmp_path / "evil.txt").exists()


def test_growth_and_members_are_capped(place):
    path, out = place(zip_bytes(("zeros", b"\0" * 3_000_000, 0)), "a.zip")
    with pytest.raises(DatasetError, match="goes beyond 1,000,000 bytes"):
        unpack(path, out, limits=Limits(1_000_000))
    path, out = place(tar_bytes(*[(f"f{k}", b"") for k in range(11)]))
    with pytest.raises(DatasetError, match="one of more than 10 members"):
        unpack(path, out, limits=Limits(1_000_000, members=10))


def test_a_header_that_grows_without_end_is_stopped(place):
    # A name of 200 MB in a pax header: nothing would be written, but memory would fill.
    record = b"%d path=" % (200 << 20)
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 200 << 20
    data = gzip.compress(header.tobuf() + record + b"a" * (200 << 20), compresslevel=1)
    path, out = place(data, "a.tar.gz")
    with pytest.raises(DatasetError, match="goes beyond"):
        unpack(path, out)
    assert not list(out.iterdir())
