"""Vela's files as it writes them, and files that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ExportError
from engine.export.ethos_u.report import VelaOperator, read_report

SUMMARY = (
    "experiment,network,accelerator_configuration,system_config,memory_mode,core_clock,sram_memory_used,"
    "dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,nn_macs,cycles_total\n"
    "default,segment,Ethos_U85_256,Ethos_U85_SYS_DRAM_Mid,Dedicated_Sram_384KB,1000000000.0,12.5,3.0,0.0,0.0,640,310\n"
)
DEBUG = """<?xml version='1.0' encoding='UTF-8'?>
<debug source="0/segment">
<table name="perf">
<![CDATA[
"id","source_id","optimised_id","operator","name","staging_usage","op_cycles","npu_cycles","mac_count","Sram_ac","Dram_ac"
979,5,553,"Conv2D","a, "b" ]",12992,300,200,640,26,300
985,7,552,"Clamp","c",0,0,0,0,0,0
990,"",551,"Passthrough","d",16,10,10,0,10,0
]]>
</table>
<table name="perf_debug">
<![CDATA[
"id","weight_total_bytes","SramLut_ac","SramFeatureMap_read","SramFeatureMap_write","SramWeights_read","DramLut_read","lutramLut_write"
979,416,26,512,128,64,300,256
985,"","","","","","",""
]]>
</table>
<table name="queue">
<![CDATA[
"offset","cmdstream_id","optimised_id","scheduled_id"
]]>
</table>
<table name="source">
<![CDATA[
"id","operator","kernel_w","kernel_h","ofm_w","ofm_h","ofm_d","ext_key"
5,"Conv2D",3,3,28,28,16,4
7,"Clamp",1,1,28,28,16,9
]]>
</table>
</debug>
"""


MOVED = {"sram": 704, "dram": 300}


def written(folder: Path, debug: str = DEBUG, summary: str = SUMMARY) -> Path:
    (folder / "segment_summary_Ethos_U85_SYS_DRAM_Mid.csv").write_text(summary)
    (folder / "segment_debug.xml").write_text(debug)
    return folder


def test_what_the_files_say(tmp_path: Path) -> None:
    report = read_report(written(tmp_path), "segment")
    assert (report.accelerator, report.system_config) == ("Ethos_U85_256", "Ethos_U85_SYS_DRAM_Mid")
    assert (report.memory_mode, report.clock_hz) == ("Dedicated_Sram_384KB", 1e9)
    assert (report.cycles, report.macs) == (310, 640)
    assert report.memory_bytes == {"sram": 12800, "dram": 3072, "on_chip_flash": 0, "off_chip_flash": 0}
    assert report.operators == (
        VelaOperator("Conv2D", 4, True, 300, 200, 640, 12992, {"sram": 26, "dram": 300}, MOVED, 416),
        VelaOperator("Clamp", 9, True, 0, 0, 0, 0, {"sram": 0, "dram": 0}, {}, 0),
        VelaOperator("Passthrough", None, False, 10, 10, 0, 16, {"sram": 10, "dram": 0}, {}, 0),
    )
    assert [item.is_memory_bound for item in report.operators] == [True, False, False]


@pytest.mark.parametrize(
    ("debug", "summary"),
    [
        (DEBUG.replace("ext_key", "key"), SUMMARY),
        (DEBUG.replace('name="source"', 'name="origin"'), SUMMARY),
        (DEBUG.replace("300,200,640", "300,,640"), SUMMARY),
        (DEBUG.replace('"Clamp","c"', '"Clamp"'), SUMMARY),
        (DEBUG, SUMMARY.replace("cycles_total", "cycles")),
        (DEBUG, SUMMARY.splitlines()[0]),
    ],
)
def test_another_form_is_one_line(tmp_path: Path, debug: str, summary: str) -> None:
    with pytest.raises(ExportError, match=r"^Vela's report has another form \(.+\); install version 5\.2"):
        read_report(written(tmp_path, debug, summary), "segment")


def test_files_that_are_missing_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="another form"):
        read_report(tmp_path, "segment")
