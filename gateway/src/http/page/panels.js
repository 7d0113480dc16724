// Likes, jobs, notifications and log: each shows what its channel says, and two of them ask the backend for more.

import { announce, at, brokerNow, complain, make, parse, publish } from "./gateway.js";

const LOG_MAX = 200;
const NOTICES_MAX = 6;
const JOBS_MAX = 4;
/** An event that is older when it arrives is history: nobody is told aloud. */
const FRESH = 5_000;
/** The backend answers a like or a job within this, or is not there. */
const PATIENCE = 4_000;

const LEVELS = { good: "Good", info: "Note", warn: "Careful" };

export function startPanels(link) {
  const shows = { likes: showLikes, notice: showNotice, progress: showJob, finished: showJob, line: showLine };
  link.addEventListener("heard", ({ detail }) => shows[detail.type]?.(detail));
  link.addEventListener("reset", ({ detail }) => {
    if (detail.channel === "demo.log") addLine(make("li", "cut", `reset: ${detail.reason}, lines may be missing here`));
  });
  asks("like", "like-said", "demo.likes");
  asks("job", "job-said", "demo.jobs");
  empty("jobs", "No job yet.");
  empty("notices", "Nothing yet.");
  empty("log", "No line yet.");
  setInterval(() => ageNotices(), 1000);

  // Publishes a wish and says so when nobody fulfils it.
  function asks(type, said, channel) {
    at(type).addEventListener("click", async () => {
      at(said).textContent = "";
      try {
        await publish("demo.ask", type, "{}");
      } catch (error) {
        complain(at(said), `Not confirmed: ${error.message}.`, error);
        return;
      }
      if (link.state !== "open") {
        at(said).textContent = "Sent. What comes of it is seen once the connection is back.";
        return;
      }
      const late = setTimeout(() => {
        link.removeEventListener("heard", fulfilled);
        if (link.state === "open") at(said).textContent = "Sent, but nobody answered: is the demo backend running?";
      }, PATIENCE);
      const fulfilled = ({ detail }) => {
        if (detail.channel !== channel) return;
        clearTimeout(late);
        link.removeEventListener("heard", fulfilled);
      };
      link.addEventListener("heard", fulfilled);
    });
  }
}

function empty(id, text) {
  at(id).append(make("li", "empty", text));
}

function filled(id) {
  at(id).querySelector(":scope > .empty")?.remove();
  return at(id);
}

const isTime = (value) => Number.isFinite(value) && !Number.isNaN(new Date(value).getTime());

function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

function showLikes({ data }) {
  const count = parse(data)?.count;
  if (!Number.isInteger(count) || count < 0) return;
  const likes = at("likes");
  if (likes.dataset.count !== "" && likes.dataset.count !== String(count)) {
    likes.classList.remove("ring");
    void likes.offsetWidth; // So that the same animation runs again.
    likes.classList.add("ring");
  }
  likes.textContent = count.toLocaleString("en");
  likes.dataset.count = String(count);
}

function showNotice({ data, at: time }) {
  const told = parse(data) ?? { title: data };
  if (typeof told.title !== "string" || typeof (told.text ?? "") !== "string") return;
  const level = Object.hasOwn(LEVELS, told.level) ? told.level : "info";
  const item = make("li");
  item.dataset.level = level;
  item.dataset.at = String(time);
  const head = make("p", "title");
  const age = make("time", "age");
  age.dateTime = new Date(time).toISOString();
  head.append(make("span", "level", LEVELS[level]), make("strong", "", told.title), age);
  item.append(head);
  if (told.text) item.append(make("p", "text", told.text));
  const list = filled("notices");
  list.prepend(item);
  while (list.childElementCount > NOTICES_MAX) list.lastElementChild.remove();
  ageNotices();
  if (level === "warn" && time > brokerNow() - FRESH) announce(`Careful: ${told.title}. ${told.text ?? ""}`);
}

function ageNotices() {
  for (const age of at("notices").getElementsByClassName("age")) {
    const seconds = Math.max(0, Math.round((brokerNow() - Date.parse(age.dateTime)) / 1000));
    const text = seconds < 3 ? "now" : seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
    if (age.textContent !== text) age.textContent = text;
  }
}

function showJob({ type, data }) {
  const told = parse(data);
  if (typeof told?.job !== "string" || typeof (told.name ?? "") !== "string") return;
  const { job } = told;
  const finished = type === "finished";
  if (!finished && !(Number.isFinite(told.of) && told.of > 0 && Number.isFinite(told.done) && told.done >= 0)) return;
  const list = filled("jobs");
  const item = [...list.children].find((each) => each.dataset.job === job) ?? newJob(list, job, told.name ?? job);
  const bar = item.querySelector("progress");
  const of = finished ? bar.max : told.of;
  const done = finished ? of : Math.min(of, told.done);
  bar.max = of;
  bar.value = done;
  item.dataset.done = String(done);
  item.dataset.state = finished ? "finished" : "running";
  item.querySelector(".amount").textContent = finished ? "finished" : `${done} of ${of}`;
}

function newJob(list, job, name) {
  const item = make("li");
  item.dataset.job = job;
  const label = make("label");
  const bar = make("progress");
  label.append(make("span", "name", name), make("span", "amount"), bar);
  item.append(label);
  list.prepend(item);
  while (list.childElementCount > JOBS_MAX) list.lastElementChild.remove();
  return item;
}

function showLine({ data, at: time }) {
  const told = parse(data) ?? { text: data };
  const { text, level = "info", at: said = time } = told;
  if (typeof text !== "string" || typeof level !== "string" || !isTime(said)) return;
  const item = make("li");
  item.dataset.level = level;
  item.append(make("time", "", clock(said)), make("b", "", level), make("span", "", text));
  addLine(item);
}

function addLine(item) {
  const log = filled("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  log.append(item);
  while (log.childElementCount > LOG_MAX) log.firstElementChild.remove();
  log.dataset.lines = String(log.childElementCount);
  if (atEnd) log.scrollTop = log.scrollHeight;
}
