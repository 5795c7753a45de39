// The report's interactive parts: learning curves, sortable tables, links that open their runs.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const view = { axis: "steps", seeds: false, log: false };
  const titles = { steps: "simulated env steps", seconds: "training seconds" };

  const transparent = (colour, alpha) => {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  };
  // Plotly reads <b> and the like in names; names are data here.
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const band = (curve, colour, group) => {
    const known = curve.x.map((x, i) => i).filter((i) => curve.low[i] !== null);
    const pick = (values) => known.map((i) => values[i]);
    const line = { width: 0 };
    const shared = { mode: "lines", line, legendgroup: group, showlegend: false, hoverinfo: "skip" };
    return [
      { x: pick(curve.x), y: pick(curve.low), ...shared },
      { x: pick(curve.x), y: pick(curve.high), fill: "tonexty", fillcolor: transparent(colour, 0.15), ...shared },
    ];
  };

  const seedTraces = (entry, colour, name) =>
    entry.seeds.map((run) => ({
      x: run[view.axis], y: run.returns, mode: "lines", legendgroup: name, showlegend: false,
      line: { color: colour, width: 0.8, dash: run.status === "ok" ? "solid" : "dot" }, opacity: 0.6,
      hovertemplate: `${name}, seed ${run.seed} (${escape(run.status)})<br>%{y:,.4~g} at %{x:,.4~s}<extra></extra>`,
    }));

  const traces = (chart) => chart.entries.flatMap((entry) => {
    const style = data.style[entry.label], curve = entry[view.axis], name = escape(entry.label);
    const all = view.seeds ? seedTraces(entry, style.colour, name) : [];
    if (!curve) return all;
    const mean = {
      x: curve.x, y: curve.mean, customdata: curve.runs, name, legendgroup: name,
      mode: view.axis === "steps" && curve.x.length < 30 ? "lines+markers" : "lines",
      line: { color: style.colour, width: 2, dash: style.dash },
      marker: { symbol: style.symbol, size: 6 },
      hovertemplate: `${name}<br>%{y:,.4~g} at %{x:,.4~s}, %{customdata} runs<extra></extra>`,
    };
    return [...band(curve, style.colour, name), ...all, mean];
  });

  const draw = (element) => {
    const chart = data.charts[Number(element.dataset.chart)];
    if (view.axis === "seconds" && !chart.timed) {
      Plotly.purge(element);
      element.textContent = "Runs on several kinds of hardware: their times must not be compared.";
      return;
    }
    if (!element.classList.contains("js-plotly-plot")) element.textContent = "";
    const shapes = chart.reference === null ? [] : [{
      type: "line", xref: "paper", x0: 0, x1: 1, y0: chart.reference, y1: chart.reference,
      line: { color: "#777", width: 1, dash: "dot" },
    }];
    const layout = {
      margin: { l: 56, r: 8, t: 28, b: 40 }, shapes, hovermode: "closest", dragmode: "zoom",
      xaxis: { title: { text: titles[view.axis], standoff: 6 }, type: view.log ? "log" : "linear", exponentformat: "SI", gridcolor: "#e5e8ee", zeroline: false, nticks: 6 },
      yaxis: { gridcolor: "#e5e8ee", zeroline: false, tickformat: ",~r" },
      legend: { orientation: "h", y: -0.24, x: 0.5, xanchor: "center", font: { size: 12 } },
      font: { family: "system-ui, sans-serif", size: 12, color: "#1d2330" },
      paper_bgcolor: "#fff", plot_bgcolor: "#fff",
    };
    if (view.log) layout.xaxis.dtick = 1;
    Plotly.react(element, traces(chart), layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] });
  };

  // A chart is drawn when it comes into sight: a page may have hundreds.
  const charts = [...document.querySelectorAll(".chart")], seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !seen.has(target)) { seen.add(target); draw(target); }
    }
  }, { rootMargin: "300px" });
  charts.forEach((element) => watcher.observe(element));
  const redraw = () => seen.forEach(draw);

  document.querySelectorAll('input[name="axis"]').forEach((input) => {
    input.addEventListener("change", () => { view.axis = input.value; redraw(); });
  });
  for (const name of ["seeds", "log"]) {
    const box = document.getElementById(name);
    box.addEventListener("change", () => { view[name] = box.checked; redraw(); });
  }

  // Rows without a number go last, whichever way they are sorted.
  const compare = (column, number, sign) => (a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column]);
    if (!number) return sign * x.textContent.localeCompare(y.textContent);
    const [p, q] = [x, y].map((cell) => (cell.dataset.key === "" ? NaN : Number(cell.dataset.key)));
    if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q);
    return sign * (p - q);
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const number = head.classList.contains("number");
      body.append(...[...body.rows].sort(compare(column, number, up ? 1 : -1)));
    }));
  });

  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  open();
})();
