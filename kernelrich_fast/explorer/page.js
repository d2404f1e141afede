// The page's own script: controls, address, messages to and from the server, copying and saving.
"use strict";
window.explorer = (() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const at = (id) => document.getElementById(id);
  const sliders = new Map(); // name -> {control, input, output}
  let query = Object.fromEntries(new URLSearchParams(location.search));
  let request = null, reply = null;
  let sent = 0, answered = 0, sentAt = 0, seconds = NaN, waiting = null, timer = 0, addressTimer = 0;
  const shown = { model: null, names: null };

  const onLog = (control, value) =>
    control.scale === "log" ? Math.log10(Math.max(value, control.low)) : value;
  const fromSlider = (control, position) => {
    const value = control.scale === "log" ? 10 ** position : position;
    const near = Math.min(Math.max(value, control.low), control.high);
    return control.whole ? Math.round(near) : Number(near.toPrecision(4));
  };

  function addSlider(control) {
    const label = document.createElement("label");
    label.className = "slider";
    const name = document.createElement("span");
    name.className = "name";
    name.append(control.label);
    const output = document.createElement("output");
    name.append(output);
    const input = document.createElement("input");
    Object.assign(input, { type: "range", id: `slider-${control.name}`,
      min: onLog(control, control.low), max: onLog(control, control.high), step: control.step });
    input.setAttribute("aria-label", control.label);
    input.addEventListener("input", () => {
      setValue(control.name, fromSlider(control, Number(input.value)), false);
      ask();
    });
    label.append(name, input);
    if (control.name === "alpha") {
      const ends = document.createElement("span");
      ends.className = "ends";
      ends.innerHTML = "<span>rich</span><span>kernel</span>";
      at("alpha-bar").replaceChildren(label, ends);
    } else at("sliders").append(label);
    sliders.set(control.name, { control, input, output });
  }

  function setValue(name, value, move = true) {
    const slider = sliders.get(name);
    if (!slider) return;
    query[name] = String(value);
    if (move) slider.input.value = onLog(slider.control, Number(value));
    const short = Number(Number(value).toPrecision(4));
    const small = short !== 0 && Math.abs(short) < 1e-3;
    const text = slider.control.whole ? String(value) : small ? short.toExponential() : String(short);
    slider.output.textContent = text;
    slider.input.setAttribute("aria-valuetext", text);
  }

  // The controls that a state has are those that its address names.
  function showControls(state) {
    const names = Object.keys(state).join();
    if (shown.model !== state.model || shown.names !== names) {
      Object.assign(shown, { model: state.model, names });
      sliders.clear();
      at("sliders").replaceChildren();
      for (const control of settings.controls[state.model]) if (control.name in state) addSlider(control);
      at("model").value = state.model;
      const over = Object.keys(settings.over[state.model]).map((name) => new Option(name, name));
      at("over").replaceChildren(...over);
      for (const view of settings.views) {
        const title = settings.titles[state.model][view];
        at(`view-${view}`).hidden = title === undefined;
        at(`title-${view}`).textContent = title ?? "";
      }
    }
    at("over").value = state.over;
    for (const [name, value] of Object.entries(state)) setValue(name, value);
  }

  function ask() {
    waiting = query;
    const now = performance.now();
    // One question at a time keeps up with a slider; a slow answer is not waited for.
    if (answered === sent || now - sentAt > 300) send();
    else if (!timer) timer = setTimeout(() => { timer = 0; if (waiting) send(); }, 300);
  }

  function send() {
    const asked = waiting;
    waiting = null;
    sentAt = performance.now();
    post({ kind: "state", query: asked });
    setTimeout(() => { if (answered < sent) at("status").classList.add("busy"); }, 200);
  }

  function post(message) {
    sent += message.kind === "state" ? 1 : 0;
    message.id = sent;
    request.data = { message: [JSON.stringify(message)] };
  }

  function say(messages) {
    at("messages").replaceChildren(...messages.map((text) => {
      const p = document.createElement("p");
      p.textContent = text;
      return p;
    }));
  }

  const answers = {
    now(answer) {
      answered = Math.max(answered, answer.id);
      seconds = answer.seconds;
      at("status").classList.remove("busy");
      say(answer.messages);
      requestAnimationFrame(() => { at("facts").textContent = answer.facts.join("; ") + "."; });
      const own = answer.known !== "";
      at("source").textContent = own ? `Yours: ${answer.known}.` : "Generated.";
      at("generated").hidden = !own;
      if (waiting) { send(); return; }
      if (answer.id < sent) return;
      query = Object.fromEntries(new URLSearchParams(answer.query));
      showControls(query);
      // Writing the address takes the browser longer than drawing: when the slider rests.
      clearTimeout(addressTimer);
      addressTimer = setTimeout(() => {
        addressTimer = 0;
        history.replaceState(null, "", `?${answer.query}`);
      }, 150);
    },
    error(answer) {
      if (answer.id !== undefined && answer.id !== null) answered = Math.max(answered, answer.id);
      say(answer.messages);
      if (waiting) send();
    },
    message(answer) { say(answer.messages); },
    progress(answer) {
      at("progress").value = answer.done;
      at("what").textContent = answer.what || "done";
    },
    file(answer) {
      query = { ...(query.model === "factorization" ? {} : { model: query.model }), data: answer.key };
      ask();
    },
    async code(answer) {
      at("text").value = answer.text;
      at("copied").textContent = "";
      at("code").showModal();
      try {
        await navigator.clipboard.writeText(answer.text);
        at("copied").textContent = "Copied to the clipboard.";
      } catch {
        at("copied").textContent = "The browser did not allow copying: select the text and copy it.";
        at("text").select();
      }
      at("text").scrollTop = 0;
    },
    data(answer) {
      save(new Blob([answer.text], { type: "text/csv" }), `kernelrich-${answer.view}.csv`);
    },
  };

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const viewOf = (name) => {
    const model = Bokeh.documents[0].get_model_by_name(name);
    return Bokeh.index.get(model) ?? Bokeh.index.get_by_id(model.id);
  };

  async function saveFigure(name) {
    const layer = viewOf(name).export("png", true);
    save(await layer.to_blob(), `kernelrich-${name}.png`);
  }

  async function takeFile(file) {
    if (file.size > 16 * 2 ** 20) {
      say([`${file.name}: expected at most 16 MiB, got ${Math.ceil(file.size / 2 ** 20)}; load it in ` +
        "Python and call krf.explore(X, y) instead"]);
      return;
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768)
      text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    post({ kind: "file", name: file.name, content: btoa(text) });
  }

  // A press on a picture over alpha moves the present point there.
  function tapped(view, x, y) {
    const alpha = sliders.get("alpha");
    if (!alpha || !Number.isFinite(x)) return;
    setValue("alpha", fromSlider(alpha.control, onLog(alpha.control, x)));
    const row = sliders.get(query.over);
    const rows = settings.over[query.model][query.over];
    if (view === "phase" && row && rows[Math.round(y)] !== undefined)
      setValue(query.over, rows[Math.round(y)]);
    ask();
  }

  function listen() {
    for (const [name, label] of Object.entries(settings.models)) at("model").append(new Option(label, name));
    at("model").addEventListener("change", () => {
      query = { model: at("model").value, data: query.data };
      ask();
    });
    at("over").addEventListener("change", () => { query.over = at("over").value; ask(); });
    at("generated").addEventListener("click", () => {
      at("file").value = "";
      query = { model: query.model };
      ask();
    });
    at("file").addEventListener("change", () => { if (at("file").files.length) takeFile(at("file").files[0]); });
    at("link").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        at("link").textContent = "Copied";
      } catch { at("link").textContent = "Copy it from the address bar"; }
      setTimeout(() => { at("link").textContent = "Copy the link to this state"; }, 2500);
    });
    at("controls").addEventListener("submit", (event) => event.preventDefault());
    at("views").addEventListener("click", (event) => {
      const { kind, view } = event.target.dataset;
      if (kind === "figure") saveFigure(view);
      else if (kind) post({ kind, view });
    });
    if (matchMedia("(max-width: 700px)").matches) at("more").open = false;
  }

  // All numbers come in one array; the layout says where each column lies in it. What is drawn is not
  // told to the server, which knows it.
  function draw(doc, layout, numbers) {
    const column = (place) => place.length === 0 || typeof place[0] === "string" ? place
      : Array.isArray(place[0]) ? place.map(column) : numbers.subarray(...place);
    for (const [name, part] of Object.entries(layout)) {
      const isSource = typeof Object.values(part)[0] !== "number";
      const change = isSource
        ? { data: Object.fromEntries(Object.entries(part).map(([key, place]) => [key, column(place)])) }
        : part;
      doc.get_model_by_name(name).setv(change, { sync: false });
    }
  }

  // Bokeh asks the style of the page for every line it draws, in case a style sheet sets it; here none
  // does, and the answers cost a third of the time of a picture.
  function withoutStyles() {
    const view = viewOf("loss");
    let part = view?.visuals?.outline_line;
    while (part && !Object.hasOwn(part, "_get_css_value")) part = Object.getPrototypeOf(part);
    if (part) part._get_css_value = () => "";
  }

  function start() {
    const doc = window.Bokeh?.documents?.[0];
    request = doc?.get_model_by_name("request");
    reply = doc?.get_model_by_name("reply");
    if (!request || !reply) { setTimeout(start, 20); return; }
    reply.properties.tags.change.connect(() => {
      const answer = JSON.parse(reply.tags[0]);
      draw(doc, answer.frame, Float64Array.from(reply.tags[1]));
      answers[answer.kind](answer);
    });
    withoutStyles();
    ask();
  }

  listen();
  start();
  return { tapped, milliseconds: () => 1000 * seconds, settled: () => sent > 0 && answered === sent && waiting === null && addressTimer === 0 };
})();
