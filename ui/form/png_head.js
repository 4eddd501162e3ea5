/*
 * What a PNG says of itself, without its pixels: its header and the texts that are read, before the pixels and after.
 *   await studio.pngHead(file, { keywords, most_bytes })      bytes of a PNG, for the server to read
 * The pixels stay in the browser; chunks are passed over by their length, however large the file.
 */
(() => {
  const studio = (window.studio = window.studio || {});
  /* A file of millions of empty chunks would be read for hours. */
  const MOST_CHUNKS = 20000;
  const BAND_BYTES = 256 * 1024;
  const LONGEST_KEYWORD = 79;
  const TEXTS = ["tEXt", "iTXt", "zTXt"];
  const latin = new TextDecoder("latin1");

  /* Small reads at rising places, each from a band that is read once. */
  function reader(file) {
    let start = 0;
    let band = new Uint8Array();
    return async (at, length) => {
      if (at < start || at + length > start + band.length) {
        start = at;
        band = new Uint8Array(await file.slice(at, at + Math.max(length, BAND_BYTES)).arrayBuffer());
      }
      return band.subarray(at - start, at - start + length);
    };
  }

  const chunk = (kind, text, sum) => {
    const made = new Uint8Array(12 + text.length);
    new DataView(made.buffer).setUint32(0, text.length);
    [...kind + text].forEach((letter, place) => (made[4 + place] = letter.charCodeAt(0)));
    new DataView(made.buffer).setUint32(8 + text.length, sum);
    return made;
  };

  studio.pngHead = async (file, { keywords, most_bytes }) => {
    const bytes = reader(file);
    const parts = [file.slice(0, 8)];
    let [at, size, pixels] = [8, 8, false];
    for (let count = 0; count < MOST_CHUNKS && at + 8 <= file.size; count += 1) {
      const head = await bytes(at, 8);
      const length = new DataView(head.buffer, head.byteOffset).getUint32(0);
      const kind = latin.decode(head.subarray(4));
      if (kind === "IEND") break;
      pixels ||= kind === "IDAT";
      const isText = TEXTS.includes(kind);
      const key = isText ? latin.decode(await bytes(at + 8, Math.min(length, LONGEST_KEYWORD + 1))).split("\0")[0] : "";
      if (kind === "IHDR" || kind === "eXIf" || (isText && keywords.includes(key))) {
        if (size + length + 12 <= most_bytes - 1024) {
          size += length + 12;
          parts.push(file.slice(at, at + length + 12));
        } else if (isText) {
          /* Too long to be sent: its name alone, with a sum that says that its text is missing. */
          parts.push(chunk(kind, `${key}\0`, 0));
          size += key.length + 13;
          if (size > most_bytes) return null;
        }
      }
      at += length + 12;
    }
    if (pixels) parts.push(chunk("IEND", "", 0xae426082));
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  };
})();
