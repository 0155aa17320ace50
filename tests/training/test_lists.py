"""Lists of labelled videos: class folders, CSV, and the split files of UCF-101 and HMDB-51 as they are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidact.errors import UsageError
from vidact.training.lists import Examples, read_examples


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(examples: Examples, part: str) -> set[str]:
    return {Path(example.path).name for example in getattr(examples, part)}


def test_class_folders_are_labels_and_part_of_each_is_held_out(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{n}.mp4" for label in ("run", "walk") for n in range(10)), "run/notes.txt", "loose.mp4")
    found = read_examples(str(tmp_path), share=0.2, seed=3)
    assert found.labels == ("run", "walk")
    assert (len(found.train), len(found.held_out)) == (16, 4)
    assert {example.label for example in found.held_out} == {"run", "walk"}
    assert not {e.path for e in found.train} & {e.path for e in found.held_out}
    assert read_examples(str(tmp_path), share=0.2, seed=3) == found
    assert read_examples(str(tmp_path), share=0.2, seed=4) != found


def test_folders_called_train_and_val_decide(tmp_path: Path) -> None:
    touch(tmp_path, "train/run/a.mp4", "train/walk/b.avi", "val/run/c.mkv", "val/walk/deep/d.mp4")
    found = read_examples(str(tmp_path))
    assert names(found, "train") == {"a.mp4", "b.avi"}
    assert names(found, "held_out") == {"c.mkv", "d.mp4"}


def test_csv_with_stretches_and_split(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text(
        'path,label,start,end,split\na.mp4,run,1.5,3,train\n"b,c.mp4",walk,,,val\n/abs/d.mp4,walk,,9,train\ne.mp4,run,,,\n'
    )
    found = read_examples(str(table))
    first, second = found.train
    assert (first.path, first.label, first.start, first.end) == (str(tmp_path / "a.mp4"), "run", 1.5, 3.0)
    assert (second.path, second.start, second.end) == ("/abs/d.mp4", None, 9.0)
    assert names(found, "held_out") == {"b,c.mp4"}


def test_csv_with_a_split_file(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.mp4,run\nb.mp4,walk\nc.mp4,run\n")
    (tmp_path / "split.csv").write_text("path,split\na.mp4,train\nb.mp4,test\n")
    found = read_examples(str(tmp_path / "list.csv"), split=str(tmp_path / "split.csv"))
    assert (names(found, "train"), names(found, "held_out")) == ({"a.mp4"}, {"b.mp4"})


def test_stretches_of_one_video_are_never_on_both_sides(tmp_path: Path) -> None:
    rows = [f"{video}.mp4,{label},{n},{n + 1}" for video in range(6) for n, label in enumerate("ababab")]
    (tmp_path / "list.csv").write_text("path,label,start,end\n" + "\n".join(rows))
    found = read_examples(str(tmp_path / "list.csv"), share=0.3)
    assert found.held_out
    assert not names(found, "train") & names(found, "held_out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.mp4,run\n,walk\n", "line 3: the path is empty"),
        ("path,label\na.mp4,run\nb.mp4\n", "line 3: 2 values"),
        ("path,label\na.mp4,run,x\n", "line 2: 2 values"),
        ("path,label,start\na.mp4,run,soon\n", "line 2: start is 'soon'"),
        ("path,label,start\na.mp4,run,nan\n", "line 2: start is 'nan'"),
        ("path,label,start,end\na.mp4,run,5,4\n", "line 2: the end 4 is not after the start 5"),
        ("path,label,split\na.mp4,run,train\nb.mp4,run,maybe\n", "line 3: there is no split 'maybe'"),
        ("video,label\na.mp4,run\n", "line 1: the column 'path' is missing"),
        ("", "line 1: the column 'path' is missing"),
        ("path;label\na.mp4;run\n", "line 1: semicolons stand between the columns"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_examples(str(tmp_path / "list.csv"))


UCF = {
    "classInd.txt": "1 ApplyEyeMakeup\n2 Archery\n",
    "trainlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\nArchery/v_Archery_g08_c01.avi 2\r\n",
    "testlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\nArchery/v_Archery_g01_c01.avi\n",
}


def test_ucf101_lists(tmp_path: Path) -> None:
    videos, lists = tmp_path / "videos", tmp_path / "lists"
    videos.mkdir()
    lists.mkdir()
    for name, text in UCF.items():
        (lists / name).write_text(text)
    found = read_examples(str(videos), split=str(lists / "trainlist01.txt"))
    assert found.labels == ("ApplyEyeMakeup", "Archery")
    assert found.train[0].path == str(videos / "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi")
    assert [(e.label, Path(e.path).name) for e in found.held_out][1] == ("Archery", "v_Archery_g01_c01.avi")
    assert read_examples(str(videos), split=str(lists / "testlist01.txt")) == found
    (lists / "classInd.txt").unlink()
    with pytest.raises(UsageError, match="classInd"):
        read_examples(str(videos), split=str(lists / "trainlist01.txt"))
    (lists / "trainlist01.txt").write_text("\nv_Archery_g08_c01.avi 2\n")
    with pytest.raises(UsageError, match=r"trainlist01.txt, line 2"):
        read_examples(str(videos), split=str(lists / "trainlist01.txt"), labels=["Archery"])


def test_hmdb51_lists(tmp_path: Path) -> None:
    (tmp_path / "brush_hair_test_split1.txt").write_text("April_09 x_0.avi 1 \nAtheris_1.avi 2 \nblonde_2.avi 0 \n")
    (tmp_path / "cartwheel_test_split1.txt").write_text("Catch_0.avi 2 \nAcro_1.avi 1 \n")
    (tmp_path / "cartwheel_test_split2.txt").write_text("other.avi 1 \n")
    found = read_examples(str(tmp_path), split=str(tmp_path / "cartwheel_test_split1.txt"))
    assert found.labels == ("brush_hair", "cartwheel")
    assert {e.path for e in found.train} == {
        str(tmp_path / "brush_hair/April_09 x_0.avi"),
        str(tmp_path / "cartwheel/Acro_1.avi"),
    }
    assert names(found, "held_out") == {"Atheris_1.avi", "Catch_0.avi"}
    (tmp_path / "brush_hair_test_split1.txt").write_text("a.avi 1\nb.avi three\n")
    with pytest.raises(UsageError, match=r"brush_hair_test_split1\.txt, line 2"):
        read_examples(str(tmp_path), split=str(tmp_path / "cartwheel_test_split1.txt"))


def test_what_cannot_be_trained_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*nowhere"):
        read_examples(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="no videos to train"):
        read_examples(str(tmp_path))
    touch(tmp_path, "run/a.mp4", "run/b.mp4")
    with pytest.raises(UsageError, match="one label"):
        read_examples(str(tmp_path))
    touch(tmp_path, "walk/a.mp4", "walk/b.mp4")
    assert read_examples(str(tmp_path), labels=["walk", "run"]).labels == ("walk", "run")
    with pytest.raises(UsageError, match="'walk'"):
        read_examples(str(tmp_path), labels=["run", "jump"])
    with pytest.raises(UsageError, match="split file"):
        read_examples(str(tmp_path), split=str(tmp_path / "none.txt"))
