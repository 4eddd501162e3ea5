from gspn_core.bench.table import Table, machine_line, median, spread


def test_a_table_is_markdown_with_its_notes_and_plain_data():
    table = Table(title="Times", columns=("what", "ms"), rows=[("scan", "1.0")], notes=["Warm."])
    assert table.markdown() == "**Times**\n\n| what | ms |\n| --- | --- |\n| scan | 1.0 |\n\nWarm."
    assert table.to_dict()["rows"] == [("scan", "1.0")]


def test_the_median_and_the_spread_are_of_the_runs():
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert spread([3.0, 1.0, 2.0]) == "1–3"


def test_the_machine_line_names_versions_and_date():
    line = machine_line()
    assert "torch" in line
    assert line.count(";") == 2
