from rayreel.catalog.left_out import MOST_NAMES, LeftOut


def test_each_kind_is_a_line_with_its_count_and_first_names_most_frequent_first() -> None:
    left_out = LeftOut()
    left_out.add("files without a suffix", "README")
    for number in range(MOST_NAMES + 2):
        left_out.add(".jpg files", f"{number}.jpg")
    assert left_out.lines() == [
        ".jpg files: 7 (0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, …)",
        "files without a suffix: 1 (README)",
    ]


def test_control_characters_in_names_are_escaped() -> None:
    left_out = LeftOut()
    left_out.add("kind", "a\x1b[2J\nb\udce9.jpg")
    assert left_out.lines() == [r"kind: 1 (a\x1b[2J\nb\udce9.jpg)"]
