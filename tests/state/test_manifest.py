"""A manifest finds every change of a folder, and never leads out of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pareto.errors import ArtifactError
from pareto.state import atomic, manifest

SHA_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "sub" / "numbers").write_bytes(bytes(range(200)))
    (tmp_path / "loose").write_bytes(b"not listed")
    manifest.write(tmp_path, unlisted=["loose"])
    return tmp_path


def test_digest_is_sha256(folder: Path) -> None:
    assert manifest.digests(folder, ["sub", "loose", manifest.NAME]) == {"abc": SHA_OF_ABC}


def test_intact_folder_verifies(folder: Path) -> None:
    assert manifest.verify(folder) == []
    (folder / "loose").write_bytes(b"changed")  # is not covered
    assert manifest.verify(folder) == []


def test_missing_added_and_changed_files_are_named(folder: Path) -> None:
    (folder / "abc").unlink()
    (folder / "sub" / "added").write_text("")
    (folder / "sub" / "numbers").write_bytes(b"")
    problems = "\n".join(manifest.verify(folder))
    assert "abc is missing" in problems
    assert "added is not in the manifest" in problems
    assert "numbers does not have the sha256" in problems


def test_every_bit_flip_and_truncation_is_found(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("abc", "sub/numbers"):
        original = (folder / name).read_bytes()
        for _ in range(100):
            position, bit = int(rng.integers(len(original))), int(rng.integers(8))
            flipped = bytearray(original)
            flipped[position] ^= 1 << bit
            (folder / name).write_bytes(flipped)
            assert manifest.verify(folder)
            (folder / name).write_bytes(original[:position])
            assert manifest.verify(folder)
        (folder / name).write_bytes(original)
    assert manifest.verify(folder) == []


def test_every_bit_flip_and_truncation_of_the_manifest_itself_is_found(folder: Path) -> None:
    """Even of names it leaves out, and of white space."""
    path = folder / manifest.NAME
    original = path.read_bytes()
    for position in range(len(original)):
        flipped = bytearray(original)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert manifest.verify(folder), position
        path.write_bytes(original[:position])
        assert manifest.verify(folder), position
    path.write_bytes(original)
    assert manifest.verify(folder) == []


def test_a_manifest_that_does_not_state_its_own_digest_is_read(folder: Path) -> None:
    content = json.loads((folder / manifest.NAME).read_text())
    del content["sha256"]
    atomic.write_json(folder / manifest.NAME, content)
    assert manifest.verify(folder) == []
    manifest.check(folder, "sub")


def test_one_folder_of_it_can_be_checked_alone(folder: Path) -> None:
    (folder / "abc").write_bytes(b"changed")
    manifest.check(folder, "sub")  # abc lies elsewhere
    (folder / "sub" / "added").write_text("")
    with pytest.raises(ArtifactError, match="sub/added is not in the manifest: changed or damaged"):
        manifest.check(folder, "sub")
    (folder / "sub" / "added").unlink()
    (folder / "sub" / "numbers").write_bytes(bytes(200))
    with pytest.raises(ArtifactError, match="sub/numbers does not have the sha256"):
        manifest.check(folder, "sub")
    (folder / "sub" / "numbers").unlink()
    with pytest.raises(ArtifactError, match="sub/numbers is missing"):
        manifest.check(folder, "sub")
    (folder / "sub" / "numbers").write_bytes(bytes(range(200)))
    manifest.check(folder, "sub")
    text = (folder / manifest.NAME).read_text()
    (folder / manifest.NAME).write_text(text.replace('"loose"', '"lose"'))
    with pytest.raises(ArtifactError, match="not as it was written"):
        manifest.check(folder, "sub")


def test_swapped_files_are_found(folder: Path) -> None:
    os.rename(folder / "abc", folder / "x")
    os.rename(folder / "sub" / "numbers", folder / "abc")
    os.rename(folder / "x", folder / "sub" / "numbers")
    assert len(manifest.verify(folder)) == 2


def test_without_a_manifest_a_folder_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert "not complete" in manifest.verify(tmp_path)[0]


def test_links_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "abc"
    outside.write_bytes(b"abc")
    (folder / "abc").unlink()
    (folder / "abc").symlink_to(outside)
    assert "link" in manifest.verify(folder)[0]
    with pytest.raises(ArtifactError, match="link"):
        manifest.write(folder)


def test_linked_folders_are_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("x")
    (folder / "door").symlink_to(outside)
    assert "door is not in the manifest" in manifest.verify(folder)[0]
    with pytest.raises(ArtifactError, match="link"):
        manifest.write(folder)


HOSTILE = (
    *(
        "../abc",
        "/etc/passwd",
        "a/../../b",
        "./abc",
        "a//b",
        "a/",
        "",
        "a\\b",
        "c:x",
        "a\nb",
        "a\0b",
        "x" * 2000,
    ),
    "sub/./numbers",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_unsafe_names_are_refused(folder: Path, name: str) -> None:
    assert not manifest.is_safe(name)
    content = json.loads((folder / manifest.NAME).read_text())
    content["files"][name] = SHA_OF_ABC
    (folder / manifest.NAME).write_text(json.dumps(content))
    assert any("unsafe path" in problem for problem in manifest.verify(folder))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "files": {}}',
        '{"format": 1, "files": []}',
        '{"format": 1, "files": {"a": "short"}}',
        '{"format": 1, "files": {}, "unlisted": ["a/b"]}',
        "[" * 100_000,
    ],
)
def test_broken_manifests_are_problems_not_crashes(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.NAME).write_text(text)
    assert len(manifest.verify(tmp_path)) == 1


def test_same_files_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for file in ("b", "a") if name == "one" else ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text(file)
        manifest.write(tmp_path / name)
    assert (tmp_path / "one" / manifest.NAME).read_bytes() == (tmp_path / "two" / manifest.NAME).read_bytes()
