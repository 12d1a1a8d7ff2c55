// Trains beside the page. Before this text stand `loadRun` and, where there are decisions to show, `loadModel`.
const SLICE = 20; // milliseconds of epochs, after which a message of the page is heard
const WARM = 30; // milliseconds of epochs before the first one that counts: from then on an engine makes faster code
let runCode, modelCode, run, model, turn = 0, shown = 0;
const pause = new MessageChannel();
const breath = () => new Promise((go) => ((pause.port1.onmessage = go), pause.port2.postMessage(0)));

const tasks = {
  // The modules, compiled once.
  async load({ wasm, other }) {
    runCode = await WebAssembly.compile(wasm);
    modelCode = other && (await WebAssembly.compile(other));
    await tasks.reset({ values: {} });
    for (let epochs = 1, begin = performance.now(); performance.now() - begin < WARM && epochs < 1000; epochs *= 2) run.train(epochs);
    await tasks.reset({ values: {} });
    const columns = run.arguments.map((name) => run.get(name));
    const lr = run.state.filter((name) => name === "lr" || name.endsWith(".lr")).map((name) => [name, run.get(name)[0]]);
    postMessage({ kind: "loaded", columns, lr });
  },

  // The state as it was at the beginning, but for these values.
  async reset({ values }) {
    turn++;
    run = await loadRun(runCode);
    model = modelCode && (await loadModel(modelCode));
    tasks.set({ values });
  },

  set({ values }) {
    for (const [name, numbers] of Object.entries(values)) run.set(name, numbers);
    if (!run.training) decide();
  },

  stop() {
    turn++;
  },

  async train({ epochs }) {
    const mine = ++turn, whole = performance.now();
    let done = 0, count = 10, spent = 0;
    run.training = true;
    while (done < epochs && mine === turn) {
      const begin = performance.now(), epochsNow = Math.min(count, epochs - done);
      const found = run.train(epochsNow), took = performance.now() - begin;
      done += epochsNow;
      spent += took;
      count = Math.max(1, Math.min(4 * count, Math.round((epochsNow * SLICE) / Math.max(took, 0.1))));
      postMessage({ kind: "epochs", epoch: run.epochs, done, spent, found });
      if (done < epochs && performance.now() - shown > 60) decide();
      if (done < epochs) await breath();
    }
    if (mine !== turn) return;
    run.training = false;
    decide();
    postMessage({ kind: "done", epoch: run.epochs, done, spent, whole: performance.now() - whole });
  },

  // What the model says at each place of a grid.
  grid({ places }) {
    tasks.places = places;
    decide();
  },
};

function decide() {
  if (!model || !tasks.places) return;
  shown = performance.now();
  for (const name of model.state) if (run.state.includes(name)) model.set(name, run.get(name));
  const [out] = Object.values(model.run(tasks.places));
  postMessage({ kind: "decisions", out });
}

onmessage = async ({ data }) => {
  try {
    await tasks[data.task](data);
  } catch (error) {
    if (run) run.training = false;
    postMessage({ kind: "failed", message: error.message });
  }
};
