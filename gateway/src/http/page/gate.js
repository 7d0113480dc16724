// The drawing of the gate: it stands open while the stream does, water rises behind it with what is waiting, and
// every drop that passes is an event that came.

import { at } from "./gateway.js";

const DROPS_MAX = 40;
/** The drawing's units that the upper water rises for one waiting event, and at most. */
const RISE = 0.9;
const RISE_MAX = 34;

const CHANNEL = /^demo\.([a-z]+)/;

export function startGate(link) {
  let total = 0;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  link.addEventListener("waiting", ({ detail }) => {
    const rise = Math.min(RISE_MAX, detail > 1 ? detail * RISE + 3 : 0);
    at("scene-up").style.setProperty("--rise", `${-rise}px`);
  });
  link.addEventListener("heard", ({ detail }) => {
    total += 1;
    at("total").textContent = String(total);
    at("total").dataset.total = String(total);
    if (!calm.matches && !document.hidden) drop(CHANNEL.exec(detail.channel)?.[1]);
  });
}

function drop(kind) {
  const drops = at("scene-drops");
  if (drops.childElementCount >= DROPS_MAX) return;
  const circle = document.createElementNS(drops.namespaceURI, "circle");
  circle.setAttribute("r", kind === "page" ? "5" : "6.5");
  circle.dataset.kind = kind ?? "page";
  drops.append(circle);
  const depth = Math.random() * 18;
  const move = (x, y) => ({ transform: `translate(${x}px, ${y}px)` });
  const path = [
    { ...move(430, 108 + depth), opacity: 0 },
    { ...move(540, 150), opacity: 1, offset: 0.22 },
    { ...move(650, 160), opacity: 1, offset: 0.34 },
    { ...move(800, 142 + depth), opacity: 1, offset: 0.55 },
    { ...move(1440, 146 + depth), opacity: 1 },
  ];
  const swim = circle.animate(path, { duration: 4200 + Math.random() * 1400, easing: "linear" });
  swim.onfinish = () => circle.remove();
}
