"""The ablation of the quantization: its rows, marks and scores."""

from onnx import parser

from tools.study import ablation
from zqc.commands.check_result import CheckResult
from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy
from zqc.detection.verdict import Verdict
from zqc.recipe.recipe import PRESETS, Recipe
from zqc.statistics.input_choice import InputChoice

EVERY = ("W8A8", "W4A8", "W4A4")


def checked(*sqnr, accuracy=None, agreement=None):
    """What a comparison found."""
    parts = tuple(PartAgreement("raw", "raw", db, 1.0, 2, 2) for db in sqnr)
    return CheckResult(
        Verdict("not judged", ""),
        images=1,
        pictures="1 picture",
        made_up=False,
        input_choice=InputChoice("0:1", "given"),
        fit="",
        parts=parts,
        accuracy_quantized=accuracy,
        agreement=agreement,
    )


def test_every_row_is_a_recipe():
    """Every value of a stage is one that recipes can have, and each stage is in some row."""
    table = ablation.plan(Recipe(), ablation.ROWS, EVERY)
    assert list(table) == list(ablation.ROWS)
    assert {field for changes in ablation.CHANGES for field in changes} == set(ablation.NOTHING)
    assert table["default"]["W4A8"] == Recipe(bits=4)
    assert table["default"]["W4A4"] == Recipe(bits=4, act_bits=4)


def test_each_stage_is_once_as_in_the_default():
    """Whatever the default recipe is, one row of each stage equals it."""
    default = Recipe()
    for stage in set(ablation.NOTHING) - {"insert_factors", "lp"}:
        rows = [changes for changes in ablation.CHANGES if set(changes) == {stage}]
        assert [row[stage] for row in rows].count(getattr(default, stage)) == 1


def test_presets_differ_in_stages_alone():
    """Effort and samples of a preset do not matter, since the pictures are given."""
    table = ablation.plan(Recipe(effort="thorough"), ["preset fast"], EVERY)
    recipe = table["preset fast"]["W4A4"]
    assert recipe.rounding == PRESETS["fast"].rounding
    assert (recipe.bits, recipe.act_bits, recipe.effort) == (4, 4, "thorough")


def test_factors_only_where_activations_have_four_bits():
    """Rows of inserted factors have no networks with 8-bit activations."""
    names = [name for name in ablation.ROWS if "insert_factors" in name]
    assert len(names) == 2
    table = ablation.plan(Recipe(), names, EVERY)
    assert [list(recipes) for recipes in table.values()] == [["W4A4"], ["W4A4"]]
    assert ablation.plan(Recipe(), names, ["W8A8"]) == {}


def test_score_takes_labels_before_agreement_before_noise():
    """Of several parts the worst one counts."""
    both = checked(3.0, accuracy=Accuracy(0.5, 0.6), agreement=Accuracy(0.25, 0.3))
    assert ablation.score(both)[0] == 50
    assert ablation.score(checked(3.0, agreement=Accuracy(0.25, 0.3)))[0] == 25
    assert ablation.score(checked(3.0, 1.5, 7.0)) == (1.5, "SQNR in dB")


def test_digest_sees_the_network_alone():
    """Metadata do not change it, a node does, and the model is left as it is."""
    text = '<ir_version: 9, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) {{ y = {}(x) }}'
    first, other, third = (parser.parse_model(text.format(op)) for op in ("Relu", "Relu", "Exp"))
    other.metadata_props.add(key="recipe", value="other")
    assert ablation.digest(first) == ablation.digest(other) != ablation.digest(third)
    assert len(other.metadata_props) == 1


def test_line_marks_the_default_network_failures_and_what_is_not_made():
    """Each kind of cell, with the range where there are several seeds."""
    default = {"W8A8": [ablation.Cell(70.0, "a", 4)], "W4A8": [None], "W4A4": [None]}
    row = {"W8A8": [ablation.Cell(70.0, "a", 2)], "W4A8": [None]}
    assert ablation.line("row", row, default) == "| row | 70.0 = | fails | – | 2 |"
    assert ablation.line("default", default, default) == "| default | 70.0 | fails | fails | 4 |"
    seeds = {"W8A8": [ablation.Cell(70.0, "b", 1), ablation.Cell(72.0, "c", 1)]}
    assert ablation.line("s", seeds, seeds) == "| s | 71.0 (70.0…72.0) | 1 |"


def test_nothing_is_made_twice(monkeypatch, tmp_path):
    """A recipe is compiled once, a network that two recipes lead to is compared once."""
    compiled, compared = [], []

    class Case:
        name, model = "case", None

        def check(self, output):
            compared.append(output)
            return checked(5.0)

    def compile_model(model, output, *, recipe, images):
        compiled.append((recipe, images))
        text = (
            '<ir_version: 9, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) {y = Exp(x)}'
        )
        output.write_bytes(parser.parse_model(text).SerializeToString())
        return type("Result", (), {"seconds": 1.0})

    monkeypatch.setattr(ablation.zqc, "compile", compile_model, raising=False)
    bench = ablation.Bench(Case(), {0: "zero", 1: "one"}, tmp_path, 3)
    first = bench.row("a", Recipe())
    assert bench.row("b", Recipe()) == first
    bench.row("c", Recipe(bits=4))
    assert [images for _, images in compiled] == ["zero", "one"] * 2
    assert len(compared) == 1
