/*
 * A figure of a study along the axis that has numbers, a line for each value of the other one.
 *   studio.labPlot(figure, study, metric, word)   study: as ui/lab/lab.py describes it, null for none; word: the figure's
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const { made, set, svg } = window.dom;
  // Of the drawing, as lab.html gives it.
  const [WIDTH, HEIGHT, MARGIN] = [400, 120, 6];

  /* A line for each value of the other axis: its name and its points, in the order of their numbers. */
  function linesOf({ curve, columns, rows }, values) {
    const names = curve.across ? rows : columns;
    return names.map((name, line) => {
      const valueAt = (at) => values[curve.across ? line * columns.length + at : at * columns.length + line];
      const points = curve.numbers.map((number, at) => [number, valueAt(at)]).filter(([, value]) => value !== null);
      return { name, points: points.sort(([one], [other]) => one - other) };
    });
  }

  const opacityOf = (line, count) => String(1 - (0.65 * line) / Math.max(1, count - 1));

  function draw(lines, [low, high], [first, last]) {
    const x = (value) => MARGIN + ((value - first) / (last - first || 1)) * (WIDTH - 2 * MARGIN);
    const y = (value) => HEIGHT - MARGIN - ((value - low) / (high - low || 1)) * (HEIGHT - 2 * MARGIN);
    return lines.map(({ points }, line) => {
      const place = ([a, b], at) => `${at ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`;
      const path = svg("path", { d: points.map(place).join("") });
      path.style.opacity = opacityOf(line, lines.length);
      return path;
    });
  }

  /* What each line stands for, where there is more than one. */
  function legend({ curve, across, down }, lines) {
    if (lines.length < 2) return [];
    const other = curve.across ? down : across;
    return lines.map(({ name }, line) => {
      const entry = made("span", "lab-plot-name", `${other} ${name}`);
      const stroke = made("i");
      stroke.style.opacity = opacityOf(line, lines.length);
      entry.prepend(stroke);
      return entry;
    });
  }

  studio.labPlot = (figure, study, metric, word) => {
    const figures = study ? study.cells.map((cell) => cell.figures[metric]) : [];
    const values = figures.map(([value]) => value);
    const known = values.filter((value) => value !== null);
    figure.hidden = !study?.curve || known.length < 2;
    if (figure.hidden) return;
    const { label, numbers } = study.curve;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
    const lines = linesOf(study, values);
    figure.querySelector("svg").replaceChildren(...draw(lines, [low, high], [first, last]));
    const shown = (value) => figures.find((one) => one[0] === value)[1];
    const caption = made("span", "", `${word}: ${shown(low)} – ${shown(high)}`);
    figure.querySelector("figcaption").replaceChildren(caption, ...legend(study, lines));
    const [left, right] = figure.querySelectorAll(".lab-plot-ends span");
    set(left, `${label} ${first}`);
    set(right, String(last));
  };
})();
