"""Whose suspension it is, over restarts of the daemon and deeds of persons."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from wattlease_slurm.book import NOTHING_DONE, Book
from wattlease_slurm.words import Queue, SlurmJob, State

LATER_S = 4e9
JOB = SlurmJob(
    "71", 71, "train", "alice", "ml", "gpu", "normal", State.RUNNING, 0.0, gpus=8, licences={"power": 4000}, restarts=0
)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "slurm.json")


@pytest.fixture
def reopened(tmp_path: Path, book: Book) -> Callable[[], Book]:
    """The book as another daemon would find it."""

    def reopen() -> Book:
        assert book.save()
        again = Book(tmp_path / "slurm.json")
        again.load()
        return again

    return reopen


def seen(book: Book, job: SlurmJob, read_s: float = LATER_S, under_way: frozenset[str] = frozenset()) -> None:
    book.compare(Queue((job,), read_s), "power", under_way)


def test_a_suspension_of_ours_is_known_to_a_successor(book: Book, reopened: Callable[[], Book]) -> None:
    book.write("71", pausing=True, paused=True, restarts=0)
    again = reopened()
    seen(again, replace(JOB, state=State.SUSPENDED))
    assert again.paused == {"71"}


def test_a_job_that_a_person_let_go_on_is_not_paused_again(book: Book) -> None:
    book.write("71", pausing=True, paused=True)
    seen(book, JOB)
    assert book.of("71").stubborn
    assert not book.paused


def test_a_job_that_we_let_go_on_may_be_paused_again(book: Book) -> None:
    book.write("71", pausing=True, paused=True)
    book.write("71", paused=False)
    seen(book, JOB)
    assert book.of("71") == NOTHING_DONE


def test_a_queue_read_before_the_deed_says_nothing_of_it(book: Book) -> None:
    book.write("71", pausing=True, paused=True)
    seen(book, JOB, read_s=1.0)
    assert not book.of("71").stubborn


def test_a_job_that_something_is_under_way_for_is_not_judged(book: Book) -> None:
    book.write("71", pausing=True, paused=True)
    seen(book, JOB, under_way=frozenset({"71"}))
    assert not book.of("71").stubborn


def test_a_pause_that_a_crash_cut_short_is_forgotten(book: Book, reopened: Callable[[], Book]) -> None:
    book.write("71", pausing=True)
    again = reopened()
    seen(again, JOB)
    assert again.of("71") == NOTHING_DONE


def test_licences_that_a_person_changed_stay_a_persons(book: Book) -> None:
    book.write("71", licences=4000)
    seen(book, JOB)
    assert not book.of("71").others_licences
    seen(book, replace(JOB, licences={"power": 900}))
    assert book.of("71").others_licences


def test_licences_that_a_person_changed_before_we_ever_did_are_a_persons_too(book: Book) -> None:
    seen(book, replace(JOB, state=State.PENDING, licences={"power": 1000}))
    seen(book, JOB)
    assert not book.of("71").others_licences
    seen(book, replace(JOB, licences={"power": 333}))
    assert book.of("71").others_licences


def test_licences_of_another_run_are_no_persons_word(book: Book) -> None:
    seen(book, JOB)
    seen(book, replace(JOB, restarts=1, licences={"power": 900}))
    assert not book.of("71").others_licences


def test_what_we_give_a_job_that_was_requeued_before_is_no_persons_word(book: Book) -> None:
    again = replace(JOB, restarts=1)
    seen(book, again)
    book.write("71", licences=900)
    for _ in range(3):
        seen(book, replace(again, licences={"power": 900}))
    assert book.of("71").licences == 900
    assert not book.of("71").others_licences


def test_what_a_job_has_is_what_we_gave_it_last_or_what_it_began_with(book: Book) -> None:
    assert book.licences("71") is None
    seen(book, JOB)
    assert book.licences("71") == 4000
    book.write("71", licences=900)
    assert book.licences("71") == 900


@pytest.mark.parametrize("left_with", [4000, 900])
def test_where_slurm_did_not_say_whether_it_gave_what_is_seen_next_is_no_persons_word(
    book: Book, left_with: int
) -> None:
    seen(book, JOB)
    book.unsure("71")
    seen(book, JOB, read_s=1.0)  # read before it was asked: it may have either since
    seen(book, replace(JOB, licences={"power": left_with}))
    assert not book.of("71").others_licences
    seen(book, replace(JOB, licences={"power": 333}))
    assert book.of("71").others_licences


def test_a_requeued_job_begins_anew(book: Book) -> None:
    book.write("71", licences=900, others_licences=True, batch_frac=0.5, saved_s=1.0)
    seen(book, replace(JOB, restarts=1))
    assert book.of("71").licences is None
    assert not book.of("71").others_licences
    assert book.of("71").batch_frac == 1.0


def test_a_job_that_has_gone_is_forgotten(book: Book, reopened: Callable[[], Book]) -> None:
    book.write("71", pausing=True, paused=True)
    book.compare(Queue((), LATER_S), "power", ())
    assert not reopened().paused


@pytest.mark.parametrize("content", [b"", b"[1, 2", b'{"71": 5}', b'{"71": {"paused": true, "unknown": 1}}'])
def test_a_book_that_cannot_be_read_or_knows_more_than_we_is_no_reason_to_stop(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "slurm.json"
    path.write_bytes(content)
    book = Book(path)
    book.load()
    assert book.of("71").paused == (b'"paused"' in content)


def test_a_book_that_several_save_at_once_is_whole(book: Book, reopened: Callable[[], Book]) -> None:
    def fill(part: int) -> bool:
        for number in range(40):
            book.write(f"{part}-{number}", pausing=True, paused=True)
            if not book.save():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fill, range(4)))
    assert len(reopened().paused) == 160


def test_a_folder_that_takes_no_file_is_said_by_a_value(tmp_path: Path) -> None:
    book = Book(tmp_path / "missing" / "slurm.json")
    book.write("71", pausing=True)
    assert not book.save()
