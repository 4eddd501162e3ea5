/*
 * The panel of the run on the screen: studio.panel(find, words) returns
 *   paint(state, received)        state: the screen's value; received: when it came, as performance.now() says
 *   paintClock(state, received)   the parts that change by themselves
 */
window.studio.panel = (find, words) => {
  const { attribute, clock, set } = window.dom;

  function paintRows(rows) {
    const list = find(".rows");
    while (list.children.length > rows.length) list.lastChild.remove();
    rows.forEach(([label, value], index) => {
      let row = list.children[index];
      if (!row) {
        row = document.createElement("div");
        row.append(document.createElement("dt"), document.createElement("dd"));
        list.append(row);
      }
      set(row.children[0], label);
      set(row.children[1], value);
    });
  }

  function paintCurves({ memory, weights }) {
    const figure = find(".memory");
    figure.classList.toggle("drawn", Boolean(memory));
    if (memory) {
      set(figure.querySelector("figcaption span"), memory.label);
      set(figure.querySelector("figcaption b"), memory.top);
      attribute(figure.querySelector(".line"), "d", memory.line);
      attribute(figure.querySelector(".area"), "d", memory.area);
      attribute(figure.querySelector(".peak"), "d", memory.peak);
    }
    const chart = find(".weights");
    chart.classList.toggle("drawn", Boolean(weights));
    if (!weights) return;
    set(chart.querySelector("figcaption b"), weights.top);
    for (const name of ["c1", "c2", "c3"]) attribute(chart.querySelector(`path.${name}`), "d", weights.lines[name]);
    attribute(chart.querySelector(".at"), "d", weights.at === null ? null : `M${weights.at} 0V56`);
  }

  function paintClock(state, received) {
    const { elapsed, left, wait, progress, cached } = state.panel;
    const live = state.state === "running" || state.state === "queued";
    const since = live ? (performance.now() - received) / 1000 : 0;
    const remaining = left === null ? null : Math.max(0, left - since);
    const [time, remark] = cached || [elapsed === null ? "" : clock(elapsed + since), ""];
    set(find(".elapsed"), time);
    const note = state.state === "running" && remaining !== null;
    const unknown = state.state === "running" ? words.left_unknown : remark;
    const starts = wait === null || wait === undefined ? "" : `${words.wait_before} ${clock(Math.max(0, wait - since))}`;
    set(find(".left"), starts || note ? starts || `${words.left_before} ${clock(remaining)} ${words.left_after}` : unknown);
    let share = state.state === "done" ? 1 : progress || 0;
    if (note) share = (elapsed + since) / Math.max(elapsed + since + remaining, 0.001);
    find(".bar i").style.transform = `scaleX(${share})`;
    find(".stagebar i").style.transform = `scaleX(${progress || 0})`;
  }

  function paint(state, received) {
    set(find(".headline b"), state.panel.headline);
    set(find(".headline span"), state.panel.detail);
    paintRows(state.panel.rows);
    paintCurves(state.panel);
    const restored = find(".restored");
    restored.hidden = !state.restored;
    if (state.restored) {
      const time = new Date(state.created * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      set(restored, `${words.restored} ${time}`);
    }
    paintClock(state, received);
  }

  return { paint, paintClock };
};
