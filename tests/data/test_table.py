"""Reading CSV files and frames: what works, and every fault named by file, line and column."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nn.data import read_csv, to_matrix
from tinygrad_nn.data.table import as_frame
from tinygrad_nn.errors import DataError

pl = pytest.importorskip("polars")

CELLS = st.text("ab1 ,;\"'\n\t#\\é0.-", max_size=5)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: bytes | str) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
    return write


class Exported:
    """A data frame of another library: nothing but the Arrow stream protocol."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


# ---- files that must simply work

@pytest.mark.parametrize("content", [
    "a,b\n1,x\n2,y\n",
    "a,b\n1,x\n2,y",                               # no final line end
    "a,b\r\n1,x\r\n2,y\r\n",                       # CRLF
    "a,b\r1,x\r2,y\r",                             # old Macintosh
    b"\xef\xbb\xbfa,b\n1,x\n2,y\n",                # byte order mark
    b'\xef\xbb\xbf"a",b\r\n1,x\r\n2,y\r\n',
    "a,b\n1,x\n\n2,y\n\n\n",                       # blank lines, also in the middle
    '"a","b"\n"1","x"\n"2","y"\n',
])
@pytest.mark.parametrize("dtype", [None, {"a": int}, {"a": int, "b": str}])
def test_line_ends_marks_and_quotes(write: Any, content: bytes | str, dtype: Any) -> None:
    frame = read_csv(write(content), dtype=dtype)
    assert frame.columns == ["a", "b"]
    assert frame.rows() == [(1, "x"), (2, "y")]


def test_quoted_separators_quotes_and_line_breaks(write: Any) -> None:
    frame = read_csv(write('name,n\n"Braund, Mr. ""Owen""",1\n"two\nlines",2\n'))
    assert frame.rows() == [('Braund, Mr. "Owen"', 1), ("two\nlines", 2)]


def test_quotes_and_line_breaks_in_the_header(write: Any) -> None:
    frame = read_csv(write('"a ""b""","c\nd, e"\n1,2\n'))
    assert frame.columns == ['a "b"', "c\nd, e"]
    assert frame.rows() == [(1, 2)]


@given(header=st.lists(CELLS.filter(bool), min_size=1, max_size=4, unique=True), data=st.data(),
       end=st.sampled_from(["\n", "\r\n"]), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_reads_what_the_standard_library_writes(header: list[str], data: st.DataObject, end: str, quoting: Any) -> None:
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(header), max_size=len(header)), min_size=1, max_size=5))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerows([header, *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(text.getvalue().encode())
        frame = read_csv(path, dtype=str)
    assert frame.columns == header
    assert frame.rows() == [tuple(cell or None for cell in row) for row in rows]


@given(content=st.one_of(st.binary(max_size=60), st.text("ab1 ,\"\n\r", max_size=40).map(str.encode)),
       dtype=st.sampled_from([None, float, int, str]))
def test_any_bytes_are_read_or_refused(content: bytes, dtype: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(content)
        try:
            frame = read_csv(path, dtype=dtype)
        except DataError:
            return
    if b"\n" in content:
        records = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
        assert [frame.columns, frame.height] == [records[0], len(records) - 1]


def test_columns_select_and_order(write: Any) -> None:
    assert read_csv(write("a,b,c\n1,2,3\n"), ["c", "a"]).rows() == [(3, 1)]


def test_empty_cells_are_missing(write: Any) -> None:
    frame = read_csv(write('a,b,c\n,"", \n1,2,3\n'), dtype={"b": float, "c": int})
    assert frame.rows() == [(None, None, None), (1, 2.0, 3)]


def test_numbers_may_have_spaces_signs_and_exponents(write: Any) -> None:
    frame = read_csv(write("a,b\n 1.5 ,+2\n-1e-3, 7\n"), dtype={"a": float, "b": int})
    assert frame.rows() == [(1.5, 2), (-0.001, 7)]


def test_one_dtype_for_all_columns(write: Any) -> None:
    path = write("a,b\n1,2\n")
    assert read_csv(path, dtype=float).rows() == [(1.0, 2.0)]
    assert read_csv(path, dtype=str).rows() == [("1", "2")]


def test_types_are_inferred_from_the_whole_file(write: Any) -> None:
    frame = read_csv(write("a\n" + "1\n" * 5000 + "1.5\n"))
    assert frame["a"].dtype == pl.Float64
    assert frame.height == 5001


def test_separator_and_encoding(write: Any) -> None:
    path = write("naïve;b\né;1\n".encode("latin-1"))
    assert read_csv(path, separator=";", encoding="latin-1").rows() == [("é", 1)]
    path = write("a,b\né,1\n".encode("utf-16"))
    assert read_csv(path, encoding="utf-16").rows() == [("é", 1)]


def test_reads_the_real_files(shared_data: Path) -> None:
    titanic = read_csv(shared_data / "titanic.csv", dtype={"Age": float, "Fare": float})
    assert titanic.shape == (891, 12)
    assert titanic["Age"].null_count() == 177
    assert titanic["Embarked"].null_count() == 2
    assert titanic["Age"].mean() == pytest.approx(29.699117647)
    assert titanic["Fare"].sum() == pytest.approx(28693.9493)
    assert titanic["Name"][0] == "Braund, Mr. Owen Harris"
    assert read_csv(shared_data / "iris.csv").shape == (150, 6)
    fraud = to_matrix(read_csv(shared_data / "creditcard_2023_7121.csv", dtype=float))
    assert fraud.shape == (7121, 30)
    assert fraud[:, -1].sum() == 3751
    assert fraud[0, 0] == 1.083098311
    assert fraud[0, -2] == 3466.47


# ---- files that must be refused, with the place

@pytest.mark.parametrize(("content", "arguments", "expected"), [
    (b"", {}, r"got an empty file in .*table\.csv"),
    (b"\xef\xbb\xbf", {}, r"got an empty file in .*table\.csv"),
    (b"\n\n", {}, r"got an empty file in .*table\.csv"),
    (b"\na,b\n1,2\n", {}, r"got an empty first line in .*table\.csv; expected a header line"),
    (b"a,b\n", {}, r"got no rows below the header in .*table\.csv"),
    (b"a,b\n\n\n", {}, r"got no rows below the header in .*table\.csv"),
    (b"a,b\n1,2\n", {"columns": ["a", "c", "d"]}, r"table\.csv without column 'c', 'd'; it has 'a', 'b'"),
    (b"age,fare\n1,2\n", {"columns": ["Age"]}, r"without column 'Age'.*did you mean 'age'\?"),
    (b"a;b\n1;2\n", {"columns": ["a"]}, r"it has 'a;b'.*separator"),
    (b"a,b,c,d\n1,2,3,4\n", {"columns": ["a", "c"], "exact": True}, r"table\.csv with extra column 'b', 'd'"),
    (b"a,b,a,b\n1,2,3,4\n", {}, r"duplicate column 'a', 'b' in .*table\.csv"),
    (b"a,b\n1,2\n", {"columns": ["a", "a"]}, r"duplicate column 'a' in the columns asked for"),
    (b"a,b\n1,2\n", {"columns": "a"}, r"the string 'a' for columns; expected a list.*use \['a'\]"),
    (b"a,b\n1,2\n", {"dtype": {"c": float}}, r"the columns to read without column 'c'"),
    (b"a,b\n1,2\n", {"dtype": {"a": bytes}}, r"dtype <class 'bytes'> for column 'a'; expected float, int or str"),
    (b"a,b\n1,2\n\n3\n", {}, r"got 1 cells on line 4 of .*table\.csv; expected 2"),
    (b"a,b\n1,2\n3,4,5\n", {}, r"got 3 cells on line 3 of .*table\.csv; expected 2"),
    (b"a,b\n1,2\n3,4,5\n", {"columns": ["a"]}, r"got 3 cells on line 3 of"),
    (b'a,b\n"x\ny",2\n3\n', {}, r"got 1 cells on line 4 of"),
    (b'a,b\n1,2\n"x,3\n4,5\n', {}, r"table\.csv: unexpected end of data in the record that begins on line 3"),
    (b'a,b\n1,2\n"x"y,3\n', {}, r"table\.csv: .* in the record that begins on line 3"),
    (b"a\n1\r2\n3\n", {}, r"got .*table\.csv: 2 rows on 3 lines; expected a well-formed CSV file"),
    (b"a,b\n1,2\ncaf\xe9,3\n", {}, r"got byte 0xe9 at position 11, line 3 of .*table\.csv; expected text in utf-8.*"
                                    r"encoding='latin-1'"),
    ("a,b\n1,2\n".encode("utf-16"), {}, r"byte 0xff at position 0, line 1 of .*encoding='utf-16'"),
    (b"\xef\xbb\xbfa,b\n\xe9,2\n", {}, r"got byte 0xe9 at position 7, line 2 of"),
    (b"a,b\n1,2\n", {"encoding": "utf-99"}, r"got encoding 'utf-99'"),
    (b"a,b\n1,2\n", {"separator": ", "}, r"got separator ', '; expected one character"),
    (b"a,b\n1,2\n\n3,n.a.\n", {"dtype": float}, r"got 'n\.a\.' in .*table\.csv, line 4, column 'b'; expected a number"),
    (b'a,b\r\n"1",2\r\n1_0,4\r\n', {"dtype": float}, r"got '1_0' in .*table\.csv, line 3, column 'a'"),
    (b'name,n\n"two\nlines",1\nx,1.5\n', {"dtype": {"n": int}}, r"got '1\.5' in .*, line 4, column 'n'; expected an "
                                                               r"integer"),
    (b"a\n1\n99999999999999999999\n", {"dtype": int}, r"got '99999999999999999999' in .*, line 3, column 'a'"),
])
def test_refused_files(write: Any, content: bytes, arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        read_csv(write(content), **arguments)
    assert str(caught.value).startswith("[read_csv] got ")
    assert "; hint: " in str(caught.value)


def test_a_stray_quote_is_read_as_written_or_refused(write: Any) -> None:
    path = write('size,n\n5\'11",2\nz,3\n')
    try:  # versions of polars differ
        outcome = repr(read_csv(path).rows())
    except DataError as error:
        outcome = str(error)
    read = """[('5\\'11"', 2), ('z', 3)]"""
    assert outcome == read or re.search(r"table\.csv: .*; expected a well-formed CSV file; hint: put cells", outcome)


def test_refuses_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\[read_csv\] got .*absent\.csv: No such file"):
        read_csv(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"\[read_csv\] got .*: Is a directory"):
        read_csv(tmp_path)


# ---- frames to matrices

def test_matrix_is_contiguous_and_typed() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    matrix = to_matrix(frame, ["b", "a"], np.float32)
    assert matrix.flags.c_contiguous
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[0.5, 1.0], [1.5, 2.0]])
    assert to_matrix(frame, ["a", "c"], np.int64).tolist() == [[1, 1], [2, 0]]
    assert to_matrix(frame.head(0)).shape == (0, 3)


def test_matrix_of_large_integers_is_exact() -> None:
    assert to_matrix(pl.DataFrame({"id": [2**60 + 1]}), dtype=np.int64)[0, 0] == 2**60 + 1


def test_missing_values_become_nan_on_request() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [float("nan"), 2.0]})
    np.testing.assert_array_equal(to_matrix(frame, missing="nan"), [[1.0, np.nan], [np.nan, 2.0]])


def test_matrix_from_a_foreign_frame() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    np.testing.assert_array_equal(to_matrix(Exported(frame)), to_matrix(frame))
    np.testing.assert_array_equal(to_matrix(Exported(frame["b"])), [[0.5], [1.5]])


@pytest.mark.parametrize(("columns", "arguments", "expected"), [
    ({"a": [1.0, 2.0, None]}, {}, r"a missing value in column 'a', row 2 \(1 such values\)"),
    ({"a": [1, 2], "b": [0.0, float("nan")]}, {}, r"got nan in the frame, row 1, column 'b'"),
    ({"a": [1.0, float("-inf")]}, {"missing": "nan"}, r"got -inf in the frame, row 1, column 'a'"),
    ({"a": [1.0, 1e300]}, {"dtype": np.float32}, r"got inf in the frame, row 1, column 'a'"),
    ({"a": [1.0, 1.5]}, {"dtype": np.int64}, r"got 1\.5 in column 'a', row 1; expected values that dtype int64"),
    ({"a": [1, 300]}, {"dtype": np.int8}, r"got 300 in column 'a', row 1; expected values that dtype int8"),
    ({"a": [1, None]}, {"dtype": np.int64, "missing": "nan"}, r"got nan in column 'a', row 1"),
    ({"a": [0, 2]}, {"dtype": np.bool_}, r"got 2 in column 'a', row 1; expected values that dtype bool"),
    ({"sex": ["male", None]}, {}, r"column 'sex' of type String, beginning with \['male', None\].*OneHotEncoder"),
    ({"a": [1]}, {"columns": ["b"]}, r"the frame without column 'b'; it has 'a'"),
    ({"a": [1]}, {"columns": ["a", "a"]}, r"duplicate column 'a' in the columns asked for"),
])
def test_refused_frames(columns: dict[str, Any], arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=r"\[to_matrix\] got .*" + re.sub("^got ", "", expected)):
        to_matrix(pl.DataFrame(columns), **arguments)


def test_refuses_what_is_no_frame() -> None:
    class Broken:
        columns = ("a",)

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise ImportError("pyarrow is required")

    with pytest.raises(DataError, match=r"Broken that is not readable as a data frame: pyarrow is required.*to_numpy"):
        as_frame(Broken())
    with pytest.raises(DataError, match="that is not readable as a data frame"):
        as_frame(test_refuses_what_is_no_frame)


# ---- null values and decimal commas

@pytest.mark.parametrize("sign", ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "null", "NULL", "?", " NA ", '"?"'])
@pytest.mark.parametrize("dtype", [None, float, {"a": int, "b": float}])
@pytest.mark.parametrize("quick", [True, False])
def test_the_usual_signs_are_missing_numbers(write: Any, sign: str, dtype: Any, quick: bool) -> None:
    text = f"a,b\n1,1.5\n{sign},{sign}\n3,2.5\n" + "\n" * (not quick)  # a blank line is read the long way
    frame = read_csv(write(text), dtype=dtype)
    assert frame["b"].to_list() == [1.5, None, 2.5]
    assert frame["a"].to_list() == [1, None, 3]
    assert frame["a"].dtype == (pl.Float64 if dtype is float else pl.Int64) or sign in ("NaN", "nan")


def test_signs_among_text_are_text(write: Any) -> None:
    path = write("country,n\nNA,1\nDE,2\n,3\n?,4\n")
    assert read_csv(path)["country"].to_list() == ["NA", "DE", None, "?"]
    assert read_csv(path, dtype=str)["country"].to_list() == ["NA", "DE", None, "?"]
    assert read_csv(path, null_values=["NA", "?"])["country"].to_list() == [None, "DE", None, None]
    assert read_csv(path, null_values="?", dtype=str)["country"].to_list() == ["NA", "DE", None, None]


def test_null_values_take_the_place_of_the_usual_ones(write: Any) -> None:
    path = write("a,b\n-1,x\n2,-1\n NA ,y\n")
    assert read_csv(path, null_values=["-1", "NA"]).rows() == [(None, "x"), (2, None), (None, "y")]
    assert read_csv(path, null_values="-1").rows() == [(None, "x"), ("2", None), (" NA ", "y")]
    assert read_csv(path, null_values={"a": ["-1", "NA"]}).rows() == [(None, "x"), (2, "-1"), (None, "y")]
    assert read_csv(path, null_values={"b": "-1"}).rows() == [(-1, "x"), (2, None), (None, "y")]
    with pytest.raises(DataError, match=r"'NA' in .*, line 4, column 'a'; expected an integer"):
        read_csv(path, dtype={"a": int}, null_values="-1")
    assert read_csv(path, dtype={"a": int}, null_values={"a": ("-1", "NA")})["a"].to_list() == [None, 2, None]


def test_types_are_those_without_null_values(write: Any) -> None:
    path = write("i,f,b,t,n\n1,1.5,true,x,\n2,2,false,1,-\n-,-,-,-,-\n")
    frame = read_csv(path, null_values="-")
    assert frame.dtypes == [pl.Int64, pl.Float64, pl.Boolean, pl.String, pl.String]
    assert frame.rows()[2] == (None,) * 5
    assert frame.rows()[0] == (1, 1.5, True, "x", None)


@pytest.mark.parametrize("dtype", [None, {"a": float, "n": int}])
def test_decimal_commas(write: Any, dtype: Any) -> None:
    path = write('a;n;t\n3,14;1;a,b\n-0,5e3;2;c.d\n"7";?;1.5\n')
    frame = read_csv(path, separator=";", decimal_comma=True, dtype=dtype)
    assert frame.rows() == [(3.14, 1, "a,b"), (-500.0, 2, "c.d"), (7.0, None, "1.5")]


def test_decimal_commas_are_told_from_points(write: Any) -> None:
    with pytest.raises(DataError, match=r"'3,14' in .*, line 2, column 'a'; .*; hint: read it with decimal_comma=True"):
        read_csv(write("a;b\n3,14;1\n"), separator=";", dtype=float)
    with pytest.raises(DataError, match=r"'3\.14' in .*, line 2, column 'a'; expected a number with a decimal comma"):
        read_csv(write("a;b\n3.14;1\n"), separator=";", dtype=float, decimal_comma=True)
    with pytest.raises(DataError, match="decimal_comma=True and separator ','; expected another separator"):
        read_csv(write("a,b\n1,2\n"), decimal_comma=True)


@pytest.mark.parametrize(("nulls", "text"), [
    ({"c": "x"}, "null_values"), (3, "null_values 3; expected texts"),
    (["x", 3], "the null value 3; expected text"), ({"a": [None]}, "the null value None"),
])
def test_null_values_that_are_none(write: Any, nulls: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        read_csv(write("a,b\n1,2\n"), null_values=nulls)


@given(data=st.data(), rows=st.lists(st.tuples(st.integers(-99, 99) | st.none(), st.floats(-99, 99) | st.none()),
                                     min_size=1, max_size=8))
def test_numbers_come_back_from_either_way_of_writing(data: st.DataObject, rows: list[Any]) -> None:
    sign = data.draw(st.sampled_from(["", "NA", "?"]))
    point = "\n".join(["i;x", *(f"{sign if i is None else i};{sign if x is None else x}" for i, x in rows)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        for decimal_comma in (False, True):
            path.write_text(point.replace(".", ",") if decimal_comma else point)
            frame = read_csv(path, separator=";", decimal_comma=decimal_comma, dtype={"i": int, "x": float})
            assert frame.rows() == rows


@pytest.mark.parametrize("separator", ["\u00e9", "\u20ac", ";;", "", "\n", "\0", None, 3, b";"], ids=ascii)
def test_a_separator_is_one_character_of_ascii(tmp_path: Path, separator: Any) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^\[read_csv\] got separator"):
        read_csv(tmp_path / "a.csv", separator=separator)


def test_an_unquoted_quote_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n"1,5",2\n3,4\nx"y,1\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.csv: an unquoted quote on line 4"):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize("path", [None, 3, b"a", ["a"], object()])
def test_a_path_is_a_text(path: Any) -> None:
    with pytest.raises(DataError, match=r"^\[read_csv\] got a \w+ as the path"):
        read_csv(path)
