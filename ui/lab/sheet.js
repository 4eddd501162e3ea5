/*
 * A grid as one picture with its labels: a contact sheet, drawn here so that it can hold any script's letters.
 *   await studio.contactSheet(study, { metric, word })      a PNG's blob; study as ui/lab/lab.py describes it
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const MOST_SIDE_PX = 8192;
  const [CELL_PX, LEAST_CELL_PX, GAP, EDGE, SIDE_PX, LINE_PX] = [320, 96, 8, 24, 170, 20];
  const [INK, FAINT, PAPER, FIELD] = ["#1b1b1b", "#666666", "#ffffff", "#f0f0f0"];
  const font = (size, weight = 400) => `${weight} ${size}px system-ui, sans-serif`;

  async function loaded(source) {
    if (!source) return null;
    const image = new Image();
    image.src = source;
    try {
      await image.decode();
      return image;
    } catch {
      /* Its run was removed. */
      return null;
    }
  }

  /* The lines of a text that fit a width, at most so many; the last one ends in an ellipsis where more is left. */
  function lines(pen, text, width, most) {
    const found = [];
    let line = "";
    for (const part of text.split(/(?<=\s)|(?=[^\x00-\u2fff])/u)) {
      const whole = pen.measureText(line + part.trimEnd()).width <= width;
      if (!whole && line) {
        found.push(line.trimEnd());
        line = part;
      } else line += part;
    }
    found.push(line.trimEnd());
    const kept = found.slice(0, most).map((one) => shortened(pen, one, width));
    if (found.length > most) kept[most - 1] = shortened(pen, `${kept[most - 1]}…`, width);
    return kept;
  }

  function shortened(pen, text, width) {
    if (pen.measureText(text).width <= width) return text;
    let kept = [...text.replace(/…$/, "")];
    while (kept.length && pen.measureText(`${kept.join("")}…`).width > width) kept = kept.slice(0, -1);
    return `${kept.join("")}…`;
  }

  function sizes(study, images, hasFigures) {
    const ratio = Math.max(...images.filter(Boolean).map((one) => one.height / one.width), images.some(Boolean) ? 0 : 1);
    const side = study.down ? SIDE_PX + GAP : 0;
    const across = Math.floor((MOST_SIDE_PX - 2 * EDGE - side) / study.columns.length) - GAP;
    const down = Math.floor((MOST_SIDE_PX - 400) / study.rows.length) - GAP - LINE_PX;
    const wide = Math.max(LEAST_CELL_PX, Math.min(CELL_PX, across, Math.floor(down / ratio)));
    return { wide, high: Math.round(wide * ratio), side, foot: hasFigures ? LINE_PX : 0 };
  }

  function paintCell(pen, cell, image, [x, y], { wide, high }, metric) {
    pen.fillStyle = FIELD;
    pen.fillRect(x, y, wide, high);
    pen.textAlign = "center";
    pen.font = font(13);
    if (image) {
      const scale = Math.min(wide / image.width, high / image.height);
      const [w, h] = [image.width * scale, image.height * scale];
      pen.drawImage(image, x + (wide - w) / 2, y + (high - h) / 2, w, h);
    } else {
      pen.fillStyle = FAINT;
      pen.fillText(shortened(pen, cell.word, wide - 8), x + wide / 2, y + high / 2);
    }
    if (cell.state !== "done") return;
    pen.fillStyle = FAINT;
    pen.fillText(shortened(pen, cell.figures[metric][1], wide), x + wide / 2, y + high + 15);
  }

  /* A block of lines; returns where the next begins. */
  function write(pen, texts, x, y, style, color = INK) {
    pen.font = style;
    pen.fillStyle = color;
    texts.forEach((text, number) => pen.fillText(text, x, y + LINE_PX * number));
    return y + LINE_PX * texts.length;
  }

  studio.contactSheet = async (study, { metric, word }) => {
    const images = await Promise.all(study.cells.map((cell) => loaded(cell.state === "done" ? cell.thumb : null)));
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d");
    const size = sizes(study, images, true);
    const [stepX, stepY] = [size.wide + GAP, size.high + size.foot + GAP];
    const width = Math.max(480, 2 * EDGE + size.side + stepX * study.columns.length - GAP);
    const inner = width - 2 * EDGE;
    pen.font = font(13);
    const facts = lines(pen, study.facts.map(([label, value]) => `${label}: ${value}`).join(" · "), inner, 4);
    pen.font = font(22, 600);
    const title = shortened(pen, study.title, inner);
    pen.font = font(14, 600);
    const heads = study.columns.map((text) => lines(pen, text, size.wide, 3));
    const headPx = LINE_PX * Math.max(...heads.map((one) => one.length)) + 6;
    const top = EDGE + 34 + LINE_PX + headPx;
    canvas.width = width;
    canvas.height = top + stepY * study.rows.length + 8 + LINE_PX * facts.length + EDGE;
    pen.fillStyle = PAPER;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.textAlign = "left";
    write(pen, [title], EDGE, EDGE + 20, font(22, 600));
    const under = [study.down && `${study.down} ↓`, `${study.across} →`, word, study.count].filter(Boolean).join(" · ");
    pen.font = font(13);
    write(pen, [shortened(pen, under, inner)], EDGE, EDGE + 44, font(13), FAINT);
    pen.textAlign = "center";
    heads.forEach((texts, column) =>
      write(pen, texts, EDGE + size.side + stepX * column + size.wide / 2, EDGE + 34 + LINE_PX + 16, font(14, 600))
    );
    study.rows.forEach((text, row) => {
      const y = top + stepY * row;
      pen.textAlign = "left";
      pen.font = font(14, 600);
      if (study.down) write(pen, lines(pen, text, SIDE_PX, 6), EDGE, y + 16, font(14, 600));
      study.columns.forEach((_, column) => {
        const number = row * study.columns.length + column;
        const place = [EDGE + size.side + stepX * column, y];
        paintCell(pen, study.cells[number], images[number], place, size, metric);
      });
    });
    pen.textAlign = "left";
    write(pen, facts, EDGE, top + stepY * study.rows.length + 16, font(13), FAINT);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  };
})();
