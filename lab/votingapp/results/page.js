"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");
  const percent = (n, total) => (total ? (100 * n / total).toFixed(1) : "0");
  const set = (id, text) => { const e = at(id); if (e.textContent !== text) e.textContent = text; };

  // A chart of one value per second; the last second is not over yet and is left out.
  function chart(history) {
    const values = history.slice(0, -1), top = Math.max(...values, 1);
    const x = (i) => (600 * i / (values.length - 1)).toFixed(1), y = (v) => (108 - 100 * v / top).toFixed(1);
    const line = values.map((v, i) => (i ? "L" : "M") + x(i) + " " + y(v)).join("");
    at("line").setAttribute("d", line);
    at("area").setAttribute("d", line + "L600 110L0 110Z");
    set("rate", number.format(values[values.length - 1]));
    const peak = Math.max(...values);
    set("peak", peak ? "peak " + number.format(peak) + " a second" : "");
  }

  function frontends(list) {
    if (!list.length) return;
    const rows = list.map((f) => {
      const row = document.createElement("tr"), name = document.createElement("th");
      name.scope = "row"; name.className = "mono"; name.textContent = f.name;
      row.append(name, ...[f.a, f.b, f.a + f.b].map((n) => {
        const cell = document.createElement("td");
        cell.textContent = number.format(n);
        return cell;
      }));
      return row;
    });
    at("frontends").replaceChildren(...rows);
  }

  let readAt = 0; // when the numbers were read, by this browser's monotonic clock; 0: never
  let connected = false;
  const labels = [...document.querySelectorAll(".side h2")].map((e) => e.textContent);
  let spokenAt = -Infinity;

  function show(r) {
    if (r.age_ms >= 0) readAt = performance.now() - r.age_ms;
    set("a-count", number.format(r.a)); set("b-count", number.format(r.b)); set("total", number.format(r.total));
    const a = percent(r.a, r.total), b = percent(r.b, r.total);
    set("a-share", a); set("b-share", b);
    at("a-bar").setAttribute("width", a + "%");
    at("b-bar").setAttribute("x", a + "%"); at("b-bar").setAttribute("width", b + "%");
    if (r.history) chart(r.history);
    frontends(r.frontends);
    at("stale").hidden = !r.stale;
    // Not every change is read out: that would never end.
    if (performance.now() - spokenAt > 15000) {
      spokenAt = performance.now();
      set("spoken", labels[0] + " " + a + " percent, " + labels[1] + " " + b + " percent, " + number.format(r.total) + " voters counted.");
    }
  }

  function freshness() {
    const age = readAt ? (performance.now() - readAt) / 1000 : -1, old = age < 0 || age > 3;
    at("fresh").dataset.stale = old;
    set("age", (age < 0 ? "no result yet" : old ? "as of " + Math.round(age) + " s ago" : "live, as of " + new Date(Date.now() - age * 1000).toLocaleTimeString("en-GB"))
      + (connected ? "" : " · connecting"));
  }

  const events = new EventSource("/api/stream");
  events.onopen = () => { connected = true; };
  events.onerror = () => {
    connected = false;
    // The browser gives up after an answer like 503; the page does not.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
  };
  events.onmessage = (e) => { connected = true; show(JSON.parse(e.data)); freshness(); };
  setInterval(freshness, 500);
})();
