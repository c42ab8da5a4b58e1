"""Brings the written files up to date."""

from __future__ import annotations

from pathlib import Path

from scripts.chart import schema, settings_schema, table, values_file

CHART = Path(__file__).resolve().parents[2] / "helm" / "bon-gateway"


def written(chart: Path = CHART) -> dict[Path, str]:
    """The files that follow from the values and the settings, and what they should hold."""
    values = values_file.read((chart / "values.yaml").read_text(encoding="utf-8"))
    readme = chart / "README.md"
    return {
        chart / "values.schema.json": schema.text(values),
        chart / "files" / "strategies.json": settings_schema.strategies(),
        chart / "files" / "defaults.json": settings_schema.defaults(),
        readme: table.placed(readme.read_text(encoding="utf-8"), values),
    }


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(CHART.parents[1])}")
