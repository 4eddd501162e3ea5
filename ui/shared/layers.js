/*
 * What a viewer shows of a stage, in layers: a base that is there at once, what is sharp over it, and below both
 * the stage that was shown before, until the new one can be seen. studio.tileSource(tiles) tells OpenSeadragon of
 * a stage's tiles; studio.Layers belongs to studio.viewer.
 */
(() => {
  const studio = (window.studio = window.studio || {});
  // Until this long a stage waits for its sharp tiles before it takes the place of another.
  const PATIENCE_MS = 300;
  const RETRY_MS = 2500;
  const PROXY_PX = 1536;
  // A browser holds a picture beyond this as one only at great cost; without tiles its proxy has to do.
  const MOST_PNG_PX = 4096;

  const source = (width, height, tileSize, tileOverlap, levels, getTileUrl) => ({
    width,
    height,
    tileSize,
    tileOverlap,
    minLevel: 0,
    maxLevel: levels - 1,
    getTileUrl,
    hasTransparency: () => false,
  });
  /* One file as one tile; it may have fewer pixels than the picture that it stands for. */
  const whole = (url, { width, height }) => source(width, height, Math.max(width, height), 0, 1, () => url);

  studio.tileSource = ({ url, width, height, tile, overlap, levels, version }) =>
    source(width, height, tile, overlap, levels, (level, x, y) => `${url}/${level}/${x}_${y}.jpg?v=${version}`);

  studio.Layers = class {
    constructor(viewer, deep) {
      this.viewer = viewer;
      this.deep = deep;
      this.stage = null;
      this.now = null;
      this.old = [];
      this.failed = new Set();
      viewer.addHandler("tile-load-failed", ({ tiledImage, tile }) => this.drop(tiledImage, tile));
    }

    show(stage, home) {
      const same = this.stage && stage && this.stage.proxy === stage.proxy;
      this.stage = stage;
      if (!same) this.change(home);
      if (stage) this.sharpen();
    }

    has(url) {
      return Boolean(url) && !this.failed.has(url);
    }

    change(home) {
      const { stage } = this;
      if (this.now) this.old.push(this.now);
      this.now = null;
      if (!stage) {
        this.clear();
        return;
      }
      const first = this.old.length === 0;
      // The smallest tile costs a tenth of the proxy; the proxy is there before there are tiles.
      const tiled = this.has(stage.tiles?.url);
      const now = { base: null, sharp: null, kind: "", items: new Set(), again: new Set(), seen: false };
      this.now = now;
      this.add(now, whole(tiled ? studio.tileSource(stage.tiles).getTileUrl(0, 0, 0) : stage.proxy, stage), (item) => {
        now.base = item;
        if (home || first) this.deep.home();
        const late = () => this.reveal(now);
        item.whenFullyLoaded(first || home ? late : () => setTimeout(late, tiled || now.kind ? PATIENCE_MS : 0));
      });
    }

    /* Lays the sharpest that there is over the base: tiles, or a PNG that a browser can still hold. */
    sharpen() {
      const { stage, now } = this;
      if (!now) return;
      const tiles = this.has(stage.tiles?.url) ? stage.tiles.url : null;
      const png = !tiles && !now.kind && this.has(stage.png) && this.needsPng() ? stage.png : null;
      const kind = tiles || png;
      if (!kind || kind === now.kind) return;
      if (now.sharp) this.remove(now, now.sharp);
      now.kind = kind;
      this.add(now, tiles ? studio.tileSource(stage.tiles) : whole(png, stage), (item) => {
        now.sharp = item;
        item.addHandler("fully-loaded-change", () => this.spare(now));
        item.whenFullyLoaded(() => this.reveal(now));
      });
    }

    needsPng() {
      const { width, height } = this.stage;
      const longer = Math.max(width, height);
      return longer > PROXY_PX && longer <= MOST_PNG_PX && this.deep.devicePx() > (PROXY_PX * width) / longer;
    }

    add(now, tileSource, added) {
      this.viewer.addTiledImage({
        tileSource,
        width: 1,
        opacity: 0,
        preload: true,
        success: ({ item }) => {
          // What was loaded for a stage is kept when another is shown, as far as there is room.
          item.allowZombieCache(true);
          if (this.now !== now) {
            this.viewer.world.removeItem(item);
            return;
          }
          now.items.add(item);
          if (now.seen) item.setOpacity(1);
          added(item);
        },
      });
    }

    reveal(now) {
      if (this.now !== now || now.seen) return;
      now.seen = true;
      for (const item of now.items) item.setOpacity(1);
      this.spare(now);
      this.clear();
      this.viewer.raiseEvent("deep-shown", { stage: this.stage });
    }

    /* Where what is sharp covers the view, nothing is drawn below it: to enlarge the base costs more than all else. */
    spare(now) {
      if (now.seen && now.base) now.base.setOpacity(now.sharp?.getFullyLoaded() ? 0 : 1);
    }

    clear() {
      for (const layers of this.old) for (const item of layers.items) this.viewer.world.removeItem(item);
      this.old = [];
    }

    remove(now, item) {
      now.items.delete(item);
      now.sharp = null;
      this.spare(now);
      this.viewer.world.removeItem(item);
    }

    /* A run's files may have been removed since: what is left of it is shown, and they are not asked for again. */
    async drop(item, tile) {
      const { now, stage } = this;
      const url = tile.getUrl();
      if (!now?.items.has(item) || this.failed.has(url)) return;
      const later = () => setTimeout(() => this.retry(now, item, tile), RETRY_MS);
      if (url === stage.proxy) {
        this.reveal(now);
        later();
        return;
      }
      const answer = await fetch(url, { method: "HEAD" }).catch(() => null);
      if (this.now !== now || !now.items.has(item)) return;
      if (!answer || answer.ok || answer.status === 429 || answer.status >= 500) {
        later();
        return;
      }
      // Of the files that are gone, none is asked for that still waits its turn.
      if (now.sharp) this.remove(now, now.sharp);
      this.viewer.imageLoader.clear();
      this.failed.add(url === stage.png ? url : stage.tiles.url);
      this.change(false);
      this.sharpen();
    }

    /* The connection or a busy server was at fault: asked for once more; after that, what there is has to do. */
    retry(now, item, tile) {
      if (this.now !== now || !now.items.has(item)) return;
      this.reveal(now);
      if (now.again.has(tile)) return;
      now.again.add(tile);
      tile.exists = true;
      item.update(true);
    }
  };
})();
