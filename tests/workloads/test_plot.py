from xml.etree import ElementTree

from llm_edge_agent.workloads.plot import HEIGHT, WIDTH, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_one_line_for_each_with_its_name_escaped() -> None:
    lines = {"x & y": [0.0, 0.5, 1.0], "z": [1.0, 1.0, 2.0]}
    chart = ElementTree.fromstring(line_chart("A < B", "size", ["1", "2", "3"], lines))
    drawn = chart.findall(f"{SVG}polyline")
    assert len(drawn) == 2
    texts = {each.text for each in chart.iter(f"{SVG}text")}
    assert {"A < B", "x & y", "z", "size", "1", "2", "3", "0 %", "100 %"} <= texts
    rising = [tuple(map(float, point.split(","))) for point in drawn[0].attrib["points"].split()]
    assert [x for x, _ in rising] == sorted(x for x, _ in rising)
    assert [y for _, y in rising] == sorted((y for _, y in rising), reverse=True)
    for line in drawn:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


def test_a_single_size_is_a_point() -> None:
    assert line_chart("t", "x", ["1"], {"a": [0.4]}).count("<circle") == 1
