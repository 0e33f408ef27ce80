// Charts, drawn from the tables beneath them. Dragging or keys choose a new span; site.js goes there.

/* global uPlot */

const INK = "#0b0c0c";
const SOFT = "#4c5a60";
const RULE = "#dde4e6";
const BRAND = "#0f6a70";
const BAND = "rgba(15, 106, 112, 0.25)";
const HEIGHT = 240;
const EMPTY_HEIGHT = 90;
const HOUR = 3600;
const DAY = 86400;
const SHORTEST = 60;
const LEAP = 10;

const charts = [];
let go = () => {};
const still = matchMedia("(prefers-reduced-motion: reduce)");

function numberOf(cell) {
  const value = cell?.querySelector("data")?.value;
  return value === undefined ? null : Number(value);
}

/** Reads a table into columns: times, values, lowest, highest, and the rows they stand in. */
function read(plot) {
  const columns = { x: [], y: [], low: [], high: [], rows: [] };
  for (const row of plot.querySelectorAll("table[data-series] tbody tr")) {
    const cells = row.querySelectorAll("td");
    const gap = row.hasAttribute("data-gap");
    columns.x.push(Number(row.dataset.x));
    columns.y.push(gap ? null : numberOf(cells[0]));
    columns.low.push(gap ? null : numberOf(cells[1]));
    columns.high.push(gap ? null : numberOf(cells[2]));
    columns.rows.push(row);
  }
  return columns;
}

function span() {
  const { start, end } = document.getElementById("plots").dataset;
  return [Number(start), Number(end)];
}

const DAY_TEXT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const HOUR_TEXT = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
const SECOND_TEXT = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC" });

/** Labels of the time axis: 24-hour clock in UTC, the day beneath wherever it changes. */
function timeLabels(_chart, splits, _axis, _space, increment) {
  let before = "";
  return splits.map((seconds) => {
    const time = new Date(seconds * 1000);
    const day = DAY_TEXT.format(time);
    if (increment >= DAY) {
      return day;
    }
    const clock = (increment < 60 ? SECOND_TEXT : HOUR_TEXT).format(time);
    const label = day === before ? clock : `${clock}\n${day}`;
    before = day;
    return label;
  });
}

function textOf(row) {
  const time = row.querySelector("th").textContent;
  if (row.hasAttribute("data-gap")) {
    return `${time}: no readings`;
  }
  return time;
}

class Chart {
  constructor(plot) {
    this.plot = plot;
    this.box = plot.querySelector(".kb-chart");
    this.readout = plot.querySelector("[data-readout]");
    this.bearing = plot.dataset.bearing === "yes";
    this.unit = plot.dataset.unit;
    this.index = null;
    this.name = plot.querySelector("h3").textContent;
    this.stage = document.createElement("div");
    this.stage.className = "kb-chart__plot";
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "slider");
    this.stage.setAttribute("aria-label", `${this.name} over time: arrow keys read values, plus and minus zoom`);
    this.stage.addEventListener("keydown", (event) => this.onKey(event));
    this.stage.addEventListener("blur", () => this.point(null));
    this.box.replaceChildren(this.stage);
    this.draw();
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  draw() {
    this.columns = read(this.plot);
    const { x, y, low, high } = this.columns;
    const banded = !this.bearing && high.some((value) => value !== null);
    this.height = x.length > 0 ? HEIGHT : EMPTY_HEIGHT;
    if (this.chart && this.banded === banded && this.chart.height === this.height) {
      this.chart.setData(banded ? [x, y, low, high] : [x, y], true);
    } else {
      this.chart?.destroy();
      this.banded = banded;
      this.chart = new uPlot(this.options(banded), banded ? [x, y, low, high] : [x, y], this.stage);
    }
    this.index = null;
    this.describe();
  }

  options(banded) {
    const line = { stroke: BRAND, width: 2, points: { show: this.bearing, size: 4, fill: BRAND } };
    if (this.bearing) {
      line.paths = () => null;
    } else {
      // A value between two gaps has no line to it: show it as a point.
      line.points = { size: 5, fill: BRAND, show: true, filter: (u) => this.lonely(u) };
    }
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      width: Math.max(this.box.clientWidth, 200),
      height: this.height,
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: {
        x: { time: true, range: () => span() },
        y: this.bearing ? { range: () => [0, 360] } : {},
      },
      axes: [
        { stroke: SOFT, font: "13px Arial", grid: { stroke: RULE, width: 1 }, ticks: { stroke: RULE, width: 1 }, values: timeLabels, space: 70 },
        { stroke: SOFT, font: "13px Arial", grid: { stroke: RULE, width: 1 }, ticks: { show: false }, size: 60, ...(this.bearing ? { splits: () => [0, 90, 180, 270, 360] } : {}) },
      ],
      series: banded ? [{}, line, edge, edge] : [{}, line],
      bands: banded ? [{ series: [3, 2], fill: BAND }] : [],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        points: { size: 9, fill: "#fff", stroke: INK, width: 2 },
        bind: { dblclick: () => null },
      },
      hooks: {
        setSelect: [(u) => this.onSelect(u)],
        setCursor: [(u) => this.onCursor(u)],
      },
    };
  }

  lonely(u) {
    const values = u.data[1];
    const found = [];
    values.forEach((value, i) => {
      if (value !== null && (i === 0 || values[i - 1] === null) && (i === values.length - 1 || values[i + 1] === null)) {
        found.push(i);
      }
    });
    return found;
  }

  resize() {
    const width = Math.max(this.box.clientWidth, 200);
    if (this.chart.width !== width) {
      this.chart.setSize({ width, height: this.height });
    }
  }

  onSelect(u) {
    if (u.select.width > 3) {
      const start = u.posToVal(u.select.left, "x");
      const end = u.posToVal(u.select.left + u.select.width, "x");
      u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      this.zoomTo(start, end);
    }
  }

  onCursor(u) {
    if (document.activeElement !== this.stage || u.cursor.event) {
      this.read(u.cursor.idx ?? null);
    }
  }

  /** Writes what stands at an index beside the chart, and tells the slider. */
  read(index) {
    const row = index === null ? null : this.columns.rows[index];
    this.readout.textContent = row ? this.say(row) : "";
  }

  say(row) {
    const cells = [...row.querySelectorAll("td")];
    if (row.hasAttribute("data-gap")) {
      return `${textOf(row)}`;
    }
    const unit = this.unit ? ` ${this.unit}` : "";
    const extremes = cells.length >= 5 ? ` (${cells[1].textContent} to ${cells[2].textContent})` : "";
    const quality = cells.at(-1).textContent;
    return `${textOf(row)}: ${cells[0].textContent}${unit}${extremes}. ${quality}.`;
  }

  describe() {
    const count = this.columns.rows.length;
    this.stage.setAttribute("aria-valuemin", "0");
    this.stage.setAttribute("aria-valuemax", String(Math.max(count - 1, 0)));
    const index = this.index ?? Math.max(count - 1, 0);
    this.stage.setAttribute("aria-valuenow", String(index));
    const row = this.columns.rows[index];
    this.stage.setAttribute("aria-valuetext", row ? this.say(row) : "No readings in this period");
  }

  point(index) {
    this.index = index;
    if (index === null) {
      this.chart.setCursor({ left: -10, top: -10 }, false);
    } else {
      this.chart.setCursor({ left: this.chart.valToPos(this.columns.x[index], "x"), top: 10 }, false);
    }
    this.read(index);
    this.describe();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const last = this.columns.rows.length - 1;
    const at = this.index ?? last;
    const leap = event.shiftKey ? LEAP : 1;
    const [start, end] = span();
    const length = end - start;
    const middle = this.index === null ? (start + end) / 2 : this.columns.x[this.index];
    const actions = {
      ArrowLeft: () => this.point(Math.max(at - leap, 0)),
      ArrowRight: () => this.point(Math.min(at + leap, last)),
      ArrowDown: () => this.point(Math.max(at - leap, 0)),
      ArrowUp: () => this.point(Math.min(at + leap, last)),
      Home: () => this.point(0),
      End: () => this.point(last),
      PageUp: () => this.zoomTo(start - length / 2, end - length / 2),
      PageDown: () => this.zoomTo(start + length / 2, end + length / 2),
      "+": () => this.zoomTo(middle - length / 4, middle + length / 4),
      "=": () => this.zoomTo(middle - length / 4, middle + length / 4),
      "-": () => this.zoomTo(middle - length, middle + length),
    };
    const action = actions[event.key];
    if (action && (last >= 0 || ["PageUp", "PageDown", "+", "=", "-"].includes(event.key))) {
      event.preventDefault();
      action();
    }
  }

  zoomTo(start, end) {
    if (end - start < SHORTEST) {
      const middle = (start + end) / 2;
      [start, end] = [middle - SHORTEST / 2, middle + SHORTEST / 2];
    }
    const now = Date.now() / 1000 + HOUR;
    if (end > now) {
      [start, end] = [start - (end - now), now];
    }
    go(start, end);
  }
}

/** Replaces the still drawings; `goTo(start, end)` is called when a new span is chosen. */
export function drawCharts(goTo) {
  go = goTo;
  for (const plot of document.querySelectorAll("[data-plot]")) {
    charts.push(new Chart(plot));
  }
}

/** Draws every chart anew from its table and the present span. */
export function redrawCharts() {
  for (const chart of charts) {
    chart.draw();
  }
}
