// The price of the last minute, drawn by hand as SVG: axes with labels, a line, and the stretches without connection.

import { at, brokerNow, parse } from "./gateway.js";

const WINDOW = 60_000;
/** A longer silence of the publisher itself is no line. */
const BREAK = 5_000;
const HEIGHT = 220;
const MARGIN = { top: 12, right: 52, bottom: 26, left: 4 };
const POINTS_MAX = 400;
/** What is dearer has no place on a paper of this size. */
const PRICE_MAX = 1e9;

export function startChart(link) {
  const chart = new Chart(at("chart"));
  link.addEventListener("heard", ({ detail }) => {
    if (detail.type !== "price") return;
    const told = parse(detail.data);
    if (!(typeof told?.price === "number" && told.price > 0 && told.price <= PRICE_MAX) || typeof (told.symbol ?? "") !== "string") return;
    chart.add(detail.at, told.price);
    showPrice(chart, told);
  });
  link.addEventListener("opened", ({ detail }) => {
    if (!detail.first && detail.from) chart.away.push([detail.from, detail.to]);
  });
  link.addEventListener("reset", ({ detail }) => {
    if (detail.channel === "demo.prices") chart.interrupt();
  });
  const draw = () => {
    if (!document.hidden) chart.draw(link.lostAt);
  };
  setInterval(draw, 250);
  new ResizeObserver(draw).observe(at("chart"));
}

function showPrice(chart, { price, symbol }) {
  at("price").textContent = price.toFixed(2);
  at("price").dataset.price = String(price);
  at("price").dataset.points = String(chart.points.length);
  if (symbol) at("price-symbol").textContent = symbol;
  const first = chart.points[0].price;
  const change = ((price - first) / first) * 100;
  const way = change > 0 ? "▲" : change < 0 ? "▼" : "=";
  at("price-change").textContent = `${way} ${Math.abs(change).toFixed(2)} % in this window`;
  at("price-change").dataset.way = change < 0 ? "down" : "up";
}

class Chart {
  points = [];
  /** Stretches without a connection: from, to. */
  away = [];
  #svg;
  /** Whether the next price is known to follow the last one. */
  #follows = false;

  constructor(svg) {
    this.#svg = svg;
  }

  /** A reset: prices may be missing here, so the line must not pretend. */
  interrupt() {
    this.#follows = false;
  }

  add(time, price) {
    this.points.push({ time, price, follows: this.#follows });
    this.#follows = true;
    this.#forget();
  }

  #forget() {
    const from = brokerNow() - WINDOW - BREAK;
    while (this.points.length > 1 && (this.points[0].time < from || this.points.length > POINTS_MAX)) this.points.shift();
    while (this.away.length && this.away[0][1] < from) this.away.shift();
  }

  draw(lostAt) {
    const width = Math.round(this.#svg.clientWidth);
    if (!width) return;
    this.#forget();
    const now = Math.max(brokerNow(), this.points.at(-1)?.time ?? 0);
    const shown = this.points.filter(({ time }) => time >= now - WINDOW);
    const scale = priceScale(shown);
    const right = width - MARGIN.right;
    const bottom = HEIGHT - MARGIN.bottom;
    const x = (time) => MARGIN.left + Math.max(0, 1 - (now - time) / WINDOW) * (right - MARGIN.left);
    const y = (price) => bottom - ((price - scale.low) / (scale.high - scale.low)) * (bottom - MARGIN.top);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const away = lostAt ? [...this.away, [lostAt, now]] : this.away;
    this.#svg.replaceChildren(
      ...away.map(([from, to]) => this.#band(x(from), x(to), MARGIN.top, bottom)),
      ...scale.ticks.flatMap((price) => this.#priceTick(price, y(price), right)),
      ...this.#timeTicks(right, bottom, width),
      ...this.#line(shown, x, y, bottom),
    );
    this.#describe(shown);
  }

  #shape(name, attributes, text) {
    const made = document.createElementNS(this.#svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    if (text) made.append(text);
    return made;
  }

  #band(from, to, top, bottom) {
    return this.#shape("rect", { class: "away", x: from, y: top, width: Math.max(1, to - from), height: bottom - top });
  }

  #priceTick(price, y, right) {
    return [
      this.#shape("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y }),
      this.#shape("text", { class: "label", x: right + 8, y: y + 4 }, price.toFixed(price % 1 ? 2 : 0)),
    ];
  }

  #timeTicks(right, bottom, width) {
    const every = width < 420 ? 30 : 15;
    const ticks = [];
    for (let seconds = 0; seconds <= WINDOW / 1000; seconds += every) {
      const x = right - (seconds * 1000 * (right - MARGIN.left)) / WINDOW;
      const anchor = seconds === WINDOW / 1000 ? "start" : "middle";
      ticks.push(
        this.#shape("line", { class: "axis", x1: x, x2: x, y1: bottom, y2: bottom + 5 }),
        this.#shape("text", { class: "label", x, y: bottom + 20, "text-anchor": anchor }, seconds ? `${seconds} s ago` : "now"),
      );
    }
    ticks.push(this.#shape("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }));
    return ticks;
  }

  #line(shown, x, y, bottom) {
    const last = shown.at(-1);
    if (!last) return [this.#shape("text", { class: "label", x: MARGIN.left + 8, y: bottom - 10 }, "waiting for the first price")];
    let path = "";
    let area = "";
    let run = [];
    const close = () => {
      if (!run.length) return;
      const points = run.map(({ time, price }) => `${x(time).toFixed(1)} ${y(price).toFixed(1)}`);
      path += `M${points.join("L")}`;
      area += `M${x(run[0].time).toFixed(1)} ${bottom}L${points.join("L")}L${x(run.at(-1).time).toFixed(1)} ${bottom}z`;
      run = [];
    };
    for (const point of shown) {
      if (run.length && (!point.follows || point.time - run.at(-1).time > BREAK)) close();
      run.push(point);
    }
    close();
    return [
      this.#shape("path", { class: "area", d: area }),
      this.#shape("path", { class: "price-line", d: path }),
      this.#shape("circle", { class: "dot", cx: x(last.time), cy: y(last.price), r: 4.5 }),
    ];
  }

  #describe(shown) {
    if (!shown.length) return;
    const prices = shown.map(({ price }) => price);
    const [low, high] = [Math.min(...prices), Math.max(...prices)];
    const text = `Price of the last minute: now ${prices.at(-1).toFixed(2)}, lowest ${low.toFixed(2)}, highest ${high.toFixed(2)}`;
    if (this.#svg.getAttribute("aria-label") !== text) this.#svg.setAttribute("aria-label", text);
  }
}

/** Round prices at the axis, about four, that enclose what is shown. */
function priceScale(shown) {
  const prices = shown.map(({ price }) => price);
  let [low, high] = prices.length ? [Math.min(...prices), Math.max(...prices)] : [100, 102];
  if (high - low < 0.4) [low, high] = [low - 0.2, high + 0.2];
  const rough = (high - low) / 4;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((each) => each >= rough);
  low = Math.floor(low / step) * step;
  high = Math.ceil(high / step) * step;
  const count = Math.round((high - low) / step);
  return { low, high, ticks: Array.from({ length: count + 1 }, (_, index) => low + index * step) };
}
