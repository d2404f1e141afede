"""The command line, and what it and `reproduce` write: nothing of the user's is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

import kernelrich_fast as krf
from kernelrich_fast.__main__ import main
from kernelrich_fast.backends import available_backends
from kernelrich_fast.bench import run_bench
from kernelrich_fast.experiments import EXTRA, FIGURES, files_of, marks, prepare, reproduce
from kernelrich_fast.experiments.output import save


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def nothing_runs(monkeypatch):
    """A figure that is computed all the same ends in an AssertionError."""

    def run(settings):
        raise AssertionError("computed")

    for module in (*FIGURES.values(), *EXTRA.values()):
        monkeypatch.setattr(module, "run", run)


def every_target():
    """Each file of each figure, and the figures it must be kept from."""
    for figure in (*FIGURES, *EXTRA, "all"):
        for quick in (True, False):
            for names in files_of(figure, quick).values():
                yield from ((figure, quick, name) for name in names)


def test_whatever_a_file_of_the_users_is_called_it_is_kept(tmp_path, nothing_runs):
    targets = list(every_target())
    assert {"report.html", "fig2.pdf", "fig1c.nc", "image-64.nc"} <= {t[2] for t in targets}
    for figure, quick, name in targets:
        (tmp_path / name).write_text("MY THESIS")
        with pytest.raises(FileExistsError) as error:
            reproduce(figure, tmp_path, quick=quick)
        assert str(tmp_path / name) in str(error.value)
        assert "force=True (--force)" in str(error.value)
        assert contents(tmp_path) == {name: b"MY THESIS"}
        (tmp_path / name).unlink()


def test_the_command_says_what_would_be_lost(tmp_path, monkeypatch, capsys, nothing_runs):
    monkeypatch.chdir(tmp_path)
    Path("fig2.pdf").write_text("MY THESIS")
    # Also where the figure in question is not the first.
    for figures in (["fig2"], ["fig5", "fig2"], ["all"]):
        assert main(["reproduce", *figures]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("kernelrich: --out: fig2.pdf exists and was not written by")
    assert contents(tmp_path) == {"fig2.pdf": b"MY THESIS"}


def with_a_line(path):
    with Image.open(path) as image:
        line = PngImagePlugin.PngInfo()
        for key, text in image.text.items():
            line.add_text(key, text)
        image.rotate(180).save(path, pnginfo=line)


def with_a_variable(path):
    with xr.open_dataset(path, engine="scipy") as ds:
        mine = ds.load().assign(mine=1.0)
    mine.to_netcdf(path, engine="scipy")


def with_a_comment(path):
    path.write_bytes(path.read_bytes() + b"% mine\n")


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("fig2.png", with_a_line), ("fig2.nc", with_a_variable), ("fig2.pdf", with_a_comment),
        ("fig2.pdf", lambda path: path.write_bytes(path.with_suffix(".png").read_bytes()[:-1])),
        # Of another figure.
        ("fig2.png", lambda path: path.write_bytes((path.parent / "fig5.png").read_bytes())),
    ],
)  # fmt: skip
def test_a_file_that_was_edited_since_is_kept(name, edit, tmp_path):
    """Programs that keep the metadata do not hide that somebody worked on the file."""
    for figure in ("fig2", "fig5"):
        save(prepare(figure, tmp_path), figure, Figure(), {"": xr.Dataset({"x": 1.0})})
    prepare("fig2", tmp_path)
    edit(tmp_path / name)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=name.replace(".", r"\.")):
        reproduce("fig2", tmp_path)
    assert contents(tmp_path) == before
    assert reproduce("fig2", tmp_path, force=True)
    assert contents(tmp_path)[name] != before[name]


def digits_file(folder, level):
    """MNIST's layout, in a file of the same name wherever it lies."""
    folder.mkdir()
    pixels, labels = np.full((20, 2, 2), level), np.arange(20) % 2
    np.savez(folder / "mnist.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    return folder / "mnist.npz"


def test_other_settings_do_not_replace_a_figure(tmp_path, nothing_runs):
    one, other, copy = (digits_file(tmp_path / k, v) for k, v in (("a", 1), ("b", 2), ("c", 1)))
    out = tmp_path / "out"
    given = {"quick": False, "seed": 0, "backend": "auto", "data": one}
    save(prepare("fig6c", out, **given), "fig6c", Figure(), {"": xr.Dataset({"x": 1.0})})
    before = contents(out)
    changes = {"quick": True, "seed": 7, "backend": "numpy", "data": other}
    for name, value in [*changes.items(), ("data", None)]:
        with pytest.raises(FileExistsError, match=f"other settings, {name}=") as error:
            reproduce("fig6c", out, **{**given, name: value})
        assert str(out / "fig6c.png") in str(error.value)
        prepare("fig6c", out, **{**given, name: value}, force=True)
    # What does not change the figure: threads, a bar, and where the data lie.
    prepare("fig6c", out, **{**given, "data": copy}, num_threads=1, progress=True)
    assert contents(out) == before


def test_the_same_figure_is_replaced(tmp_path, monkeypatch, capsys):
    call = ["reproduce", "fig2", "--quick", "--seed", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(marks, "__version__", "0.0.1+some.fork")
    assert main(call) == 0
    older = contents(tmp_path)
    assert b"version=0.0.1+some.fork" in older["fig2.nc"]
    monkeypatch.undo()
    assert main(call) == 0
    newer = contents(tmp_path)
    assert set(newer) == set(older)
    assert b"0.0.1+some.fork" not in b"".join(newer.values())
    assert main(call[:2] + call[3:]) == 1
    assert "quick=True instead of quick=False" in capsys.readouterr().err
    assert contents(tmp_path) == newer
    assert main([*call[:2], *call[3:], "--force"]) == 0
    assert contents(tmp_path)["fig2.nc"] != newer["fig2.nc"]


def test_every_file_says_with_which_settings_it_was_written(tmp_path):
    reproduce("fig2", tmp_path, quick=True, seed=5)
    line = "kernelrich_fast reproduce fig2; quick=True; seed=5; backend=auto; data=none; version="
    with Image.open(tmp_path / "fig2.png") as image:
        image.verify()  # its checksums
    with Image.open(tmp_path / "fig2.png") as image:
        assert image.text["Description"].startswith(line)
    with xr.open_dataset(tmp_path / "fig2.nc", engine="scipy") as ds:
        assert ds.attrs["written_by"].startswith(line)
    assert f"/Subject ({line}".encode() in (tmp_path / "fig2.pdf").read_bytes()


def test_what_comes_while_a_figure_is_computed_is_kept(tmp_path):
    settings = prepare("fig2", tmp_path)
    (tmp_path / "fig2.nc").write_text("MY THESIS")
    with pytest.raises(FileExistsError, match=r"fig2\.nc"):
        FIGURES["fig2"].run(settings)
    assert contents(tmp_path) == {"fig2.nc": b"MY THESIS"}


def test_a_full_disk_leaves_the_earlier_figure(tmp_path, monkeypatch):
    reproduce("fig2", tmp_path, quick=True)
    before = contents(tmp_path)

    def full(path, content):
        with open(path, "wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        reproduce("fig2", tmp_path, quick=True)
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_directories_and_files_that_are_read_only(tmp_path, monkeypatch):
    paper, out = tmp_path / "paper", tmp_path / "out"
    for folder in (paper, out):
        folder.mkdir()
    (out / "fig2.png").symlink_to(paper / "picture.png")
    for _ in range(2):
        reproduce("fig2", out, quick=True)
    assert (out / "fig2.png").is_symlink()
    assert (paper / "picture.png").read_bytes().startswith(b"\x89PNG")
    with monkeypatch.context() as patch:  # root may write to all files
        patch.setattr(os, "access", lambda path, mode: Path(path).name != "fig2.pdf")
        with pytest.raises(PermissionError, match=r"fig2\.pdf is read-only"):
            reproduce("fig2", out, quick=True, force=True)
    (out / "fig2.pdf").unlink()
    (out / "fig2.pdf").mkdir()
    with pytest.raises(FileExistsError, match=r"fig2\.pdf, got a directory"):
        reproduce("fig2", out, quick=True, force=True)


@pytest.mark.parametrize("command", [["reproduce", "fig2", "--quick"], ["bench", "--quick"]])
def test_a_directory_that_cannot_be_is_refused_by_name(
    command, tmp_path, monkeypatch, capsys, nothing_runs
):
    monkeypatch.setattr("kernelrich_fast.bench.peaks", None)  # nor is anything measured
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    for out, said in (
        ("file", "out: expected a directory, got the file file"),
        ("file/in/it", "out: expected a directory, got the file file"),
        ("", "out: expected the path of a directory, got an empty string"),
    ):
        assert main([*command, "--out", out]) == 1
        assert said in capsys.readouterr().err
    assert contents(tmp_path) == {"file": b"kept"}


@pytest.mark.parametrize("call", [lambda out: reproduce("fig2", out), run_bench])
@pytest.mark.parametrize("out", [None, 3, b"out", ["out"]])
def test_a_directory_is_a_path(call, out):
    with pytest.raises(TypeError, match=r"^out: expected the path of a directory, got "):
        call(out)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"figure": ["fig2"]}, TypeError), ({"figure": None}, TypeError),
        ({"quick": "no"}, TypeError), ({"quick": 1}, TypeError), ({"progress": 3}, TypeError),
        ({"force": "yes"}, TypeError), ({"backend": None}, TypeError), ({"seed": 1.5}, TypeError),
        ({"seed": True}, TypeError), ({"seed": -1}, ValueError), ({"num_threads": 0}, ValueError),
        ({"data": 3}, TypeError), ({"data": ""}, ValueError), ({"data": "nowhere"}, ValueError),
    ],
    ids=str,
)  # fmt: skip
def test_bad_arguments_are_named(given, error, tmp_path, nothing_runs):
    ((name, _),) = given.items()
    with pytest.raises(error, match=f"^{name}: "):
        reproduce(**{"figure": "fig6c", "out": tmp_path / "out", **given})
    assert not (tmp_path / "out").exists()


def test_errors_of_the_command_line(tmp_path, capsys):
    assert main(["reproduce", "fig2", "--backend", "cuda", "--out", str(tmp_path)]) == 0
    if available_backends()["cuda"] is not None:
        call = ["reproduce", "fig1", "--quick", "--backend", "cuda", "--out", str(tmp_path)]
        assert main(call) == 1
        assert "backend 'cuda'" in capsys.readouterr().err
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["reproduce", "fig2", "--quick", "--out", str(blocked)]) == 1
    assert blocked.read_text() == ""
    capsys.readouterr()
    for call, said in (
        (["reproduce", "fig2", "--jobs", "0"], "--jobs: expected an integer in [1, 4096], got 0"),
        (["reproduce", "fig2", "--data", "x"], "--data: expected only"),
        (["bench", "--family", "trees"], "--family: expected one of"),
        (["bench", "--repeats", "0"], "--repeats: expected an integer of at least 1, got 0"),
    ):
        assert main([*call, "--out", str(tmp_path / "none")]) == 1
        assert capsys.readouterr().err.startswith(f"kernelrich: {said}")
    assert not (tmp_path / "none").exists()
    with pytest.raises(SystemExit):
        main(["reproduce", "fig99"])
    with pytest.raises(ValueError, match="figure: expected one of"):
        reproduce("fig99")


def test_nothing_is_computed_that_cannot_be_written(tmp_path, monkeypatch):
    for module in FIGURES.values():
        monkeypatch.setattr(module, "run", None)
    blocked = tmp_path / "file"
    blocked.write_text("kept")
    for figure in FIGURES:
        with pytest.raises(OSError):
            reproduce(figure, blocked)
    with pytest.raises(ValueError, match=r"^backend: expected one of"):
        reproduce("fig2", tmp_path, backend="nope")
    assert blocked.read_text() == "kept"


def test_the_home_folder_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    reproduce("fig2", "~/made", quick=True)
    assert (tmp_path / "made" / "fig2.png").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("command", [["reproduce", "fig2"], ["bench", "--quick"], ["info"]])
def test_an_interrupt_is_one_line(command, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for name in ("experiments.reproduce", "bench.run_bench", "config.show_config"):
        monkeypatch.setattr(f"kernelrich_fast.{name}", interrupted)
    assert main(command) == 130
    assert capsys.readouterr().err == "kernelrich: interrupted\n"


def test_the_bare_command_helps_and_the_version_is_told(capsys):
    assert main([]) == 0
    assert "reproduce" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"kernelrich {krf.__version__}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes to close early")
def test_a_reader_that_leaves_early_is_no_error():
    pipe = subprocess.run(
        f"{sys.executable} -m kernelrich_fast info | head -1", shell=True, capture_output=True,
        text=True, cwd=sys.prefix,
    )  # fmt: skip
    assert pipe.stdout.startswith("kernelrich_fast ")
    assert pipe.stderr == ""


def test_info_and_module_entry():
    out = subprocess.run(
        [sys.executable, "-m", "kernelrich_fast", "info"],
        capture_output=True, text=True, check=True, cwd=sys.prefix,
    ).stdout  # fmt: skip
    assert "cpu: works" in out
    assert "cuda: not available" in out
    for what in ("package", "threads", "numpy", "scipy"):
        assert f"  {what} " in out
    assert main(["info"]) == 0
