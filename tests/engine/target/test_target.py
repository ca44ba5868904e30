"""Loading target descriptions, and one clear line for each way in which they can be wrong."""

from __future__ import annotations

from importlib import resources

import pytest

from engine.errors import TargetError
from engine.precision import Precision
from engine.target.figures import SourceKind
from engine.target.target import figures, list_targets, load_target, parse_target

NAMES = ("bayes-e-x5", "ethos-u55-256", "ethos-u85-1024", "generic-int8", "journey5")


def text_of(name):
    return (resources.files("resources") / "targets" / f"{name}.toml").read_text(encoding="utf-8")


def refused(text):
    with pytest.raises(TargetError) as caught:
        parse_target(text.encode(), "mine.toml")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("mine.toml: ")
    return line


def edited(old, new):
    text = text_of("generic-int8")
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_targets_load_and_every_figure_has_a_source(name):
    target = load_target(name)
    assert target.name == name
    found = dict(figures(target))
    assert len(found) >= 30
    assert all(figure.kind in SourceKind for figure in found.values())
    assert target == load_target(name)


def test_published_figures_are_marked_as_such():
    journey = dict(figures(load_target("journey5")))
    assert journey["mac.int8_peak"].value == 128
    assert journey["mac.int8_peak"].kind is SourceKind.DATASHEET
    assert journey["clock.cores"].value == 2
    for key in ("sram.capacity", "dma.bandwidth"):  # not public
        assert journey[key].kind is not SourceKind.DATASHEET
    board = dict(figures(load_target("bayes-e-x5")))
    assert board["clock.frequency"].kind is SourceKind.DATASHEET
    assert {figure.kind for _, figure in figures(load_target("generic-int8"))} == {SourceKind.ASSUMED}


def test_list_has_name_title_and_summary():
    summaries = list_targets()
    assert tuple(summary.name for summary in summaries) == NAMES
    assert all(summary.title and summary.summary for summary in summaries)


def test_a_target_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(edited('name = "generic-int8"', 'name = "mine"'), encoding="utf-8")
    assert load_target(path).name == load_target(str(path)).name == "mine"


def test_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(TargetError) as caught:
        load_target("jorney5")
    assert str(caught.value) == (
        f"unknown target 'jorney5'; did you mean 'journey5'? Known targets: {', '.join(NAMES)}; "
        "or give the path of a .toml file"
    )


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(TargetError, match=r"nowhere\.toml: cannot read the target: No such file"):
        load_target(tmp_path / "nowhere.toml")
    with pytest.raises(TargetError, match="cannot read the target"):
        load_target(f"{tmp_path}/")


def test_not_toml():
    assert "is not TOML" in refused("[clock\n")
    assert "is not TOML" in refused("\x00\x01")
    with pytest.raises(TargetError, match="is not TOML"):
        parse_target(b"\xff\xfe\x00", "mine.toml")


def test_missing_source():
    line = refused(edited(', source = "assumed: generic target; a lean runtime"', ""))
    assert "launch.inference: table missing required field 'source'" in line
    assert '"assumed: "' in line


@pytest.mark.parametrize("source", ["", "assumed", "assumed: ", "guess: forty-two", "datasheet"])
def test_a_source_that_says_nothing(source):
    line = refused(edited("assumed: generic target; a lean runtime", source))
    assert "launch.inference: source is" in line


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('8.0, unit = "GB/s"', '0.0, unit = "GB/s"', "dma.bandwidth: value is 0 GB/s, expected a number above 0"),
        ('8.0, unit = "GB/s"', 'inf, unit = "GB/s"', "dma.bandwidth: value is inf GB/s"),
        ('8.0, unit = "GB/s"', 'nan, unit = "GB/s"', "dma.bandwidth: value is nan GB/s"),
        ('8.0, unit = "GB/s"', '"8", unit = "GB/s"', "dma.bandwidth.value: Expected 'float', got 'str'"),
        ('8.0, unit = "GB/s"', '8.0, unit = "MB/s"', "dma.bandwidth: unit is 'MB/s', expected 'GB/s'"),
        ('200, unit = "ns"', '-1, unit = "ns"', "dma.latency: value is -1 ns, expected a number at least 0"),
        ('1, unit = "cores"', '1.5, unit = "cores"', "clock.cores: value is 1.5 cores, expected a whole number"),
        ('0.75, unit = "fraction"', '1.5, unit = "fraction"', "above 0 and at most 1"),
        ("1048576", "32", "dma.burst: 64 B do not fit the 32 B of sram.capacity"),
        ("1048576", "4000", "sram.activation_share: 0.75 of the 4,000 B of sram.capacity leaves 1,000 B for tiles"),
        ("1048576", "1e30", "sram.capacity: value is 1e+30 B, expected a whole number at least 1 and at most 1e+12"),
        ("1048576", "0", "sram.capacity: value is 0 B"),
        ('0.75, unit = "fraction"', '0, unit = "fraction"', "sram.activation_share: value is 0 fraction"),
        ('0.75, unit = "fraction"', '1.0, unit = "fraction"', "sram.activation_share: 1 of the 1,048,576 B of"),
        ('32, unit = "B"', '2097152, unit = "B"', "sram.access: 2,097,152 B do not fit the 1,048,576 B of sram.cap"),
        ('1, unit = "B"', '2097152, unit = "B"', "dma.gather: 2,097,152 B do not fit"),
        ('16, unit = "channels"', '8192, unit = "channels"', "mac: a tile of 8,192 by 32 channels and 1 positions"),
        ('1, unit = "positions"', '1e6, unit = "positions"', "B; sram keeps 262,144 B for tiles; correct the alignm"),
        ('0.256, unit = "TOPS"', '2, unit = "TOPS"', "mac.int16_peak: 2 TOPS is faster than the 1.024 TOPS of mac"),
        ('16, unit = "elements/cycle"', '64, unit = "elements/cycle"', "vector.int16: 64 elements/cycle is faster"),
        ('8, unit = "lookups/cycle"', '17, unit = "lookups/cycle"', "table.int16: 17 lookups/cycle is faster"),
        ('1.0, unit = "GHz"', '0, unit = "GHz"', "clock.frequency: value is 0 GHz, expected a number above 0"),
        ('1, unit = "cores"', '0, unit = "cores"', "clock.cores: value is 0 cores, expected a whole number at least 1"),
        ('8.0, unit = "GB/s"', '-8.0, unit = "GB/s"', "dma.bandwidth: value is -8 GB/s"),
        ('8.0, unit = "GB/s"', '1e10, unit = "GB/s"', "dma.bandwidth: value is 1e+10 GB/s, expected a number above 0"),
        ('["lut", "int16"]', "[]", "operators.unary: precisions is empty"),
        ('mac = { precisions = ["int8"', 'mac = { precisions = ["lut"', "operators.mac: precisions name 'lut', but it"),
        ("\nunary =", "\nunari =", "operators.unari: is no operator class or family; did you mean 'unary'?"),
        ('["lut", "int16"]', '["lut", "float"]', "operators.unary: precisions name 'auto' or 'float'"),
        ('["lut", "int16"]', '["lut", "int4"]', "Invalid enum value 'int4'"),
        ("\nconv_spatial_axes =", "\nconv_axes =", "limits: table contains unknown field 'conv_axes'"),
        ("\n[sram]", "\n[srma]", "table contains unknown field 'srma'"),
        ('name = "generic-int8"', 'name = "Not a name"', "identity.name: is 'Not a name'"),
        ('name = "generic-int8"', "", "identity: table missing required field 'name'"),
    ],
)
def test_nonsense_is_located(old, new, complaint):
    text = text_of("generic-int8")
    index = text.index(old)
    assert complaint in refused(text[:index] + new + text[index + len(old) :])


def test_a_missing_section_is_named():
    text = text_of("generic-int8")
    start, end = text.index("[dma]"), text.index("[launch]")
    assert "missing required field 'dma'" in refused(text[:start] + text[end:])


def test_capabilities_are_typed():
    assert load_target("journey5").operators["unary"].precisions == (Precision.LUT, Precision.INT16)


def test_every_target_states_its_error():
    assert load_target("generic-int8").stated_error.text == "Never compared with measurements."
    stated = load_target("bayes-e-x5").stated_error.text
    assert stated.startswith("Throughput off by 14 % and latency off by 12 % on average. ")
    assert "133 inferences" in load_target("journey5").stated_error.text


@pytest.mark.parametrize("bits", [8, 65, 32.5])
def test_an_accumulator_of_no_width(bits):
    line = f'[limits]\naccumulator_bits = {{ value = {bits}, unit = "bits", source = "assumed: a test" }}\n'
    text = text_of("generic-int8").replace("[limits]\n", line)
    assert f"limits.accumulator_bits: value is {bits:g} bits, expected a whole number at least 16" in refused(text)
