"use strict";
// The network's operators in layers, coloured by the bits of their tensors.

const BITS = [8, 16, 32, 0];

/** 8, 16 or 32 bits, or 0 for what is stored nowhere. */
function bitsOf(tensor) {
  if (tensor.storage === "in-passing" || tensor.storage === "not-computed") return 0;
  return BITS.find((bits) => tensor.bits <= bits) ?? 32;
}

const bitsColour = (bits) => `var(--bits-${bits})`;
const bitsName = (bits) => (bits === 0 ? "stored nowhere" : `${bits} bits`);

const [BOX, HIGH, ACROSS, DOWN, THIN] = [176, 38, 16, 20, 10];

/**
 * Layers of nodes by the longest way from an input. Edges over several layers have a stop in each between. Returns the layers as lists
 * of `{node, x}` (`node` is undefined for a stop) and the edges as chains of these.
 */
function layered(nodes) {
  const depth = [];
  nodes.forEach((node, at) => { depth[at] = 1 + Math.max(-1, ...node.inputs.map((input) => depth[input])); });
  const layers = Array.from({ length: Math.max(0, ...depth) + 1 }, () => []);
  const spots = nodes.map((_, node) => {
    const spot = { node, above: [], below: [], x: 0 };
    layers[depth[node]].push(spot);
    return spot;
  });
  const chains = [];
  nodes.forEach((node, at) => new Set(node.inputs).forEach((input) => {
    const chain = [spots[input]];
    for (let layer = depth[input] + 1; layer < depth[at]; layer++) {
      const stop = { above: [], below: [], x: 0 };
      layers[layer].push(stop);
      chain.push(stop);
    }
    chain.push(spots[at]);
    for (let i = 1; i < chain.length; i++) {
      chain[i].above.push(chain[i - 1]);
      chain[i - 1].below.push(chain[i]);
    }
    chains.push(chain);
  }));
  return { layers, chains };
}

const widthOf = (spot) => (spot.node === undefined ? THIN : BOX);

/** Gives every spot a horizontal place: near its neighbours, in an order with few crossings, without overlaps. */
function arrange(layers) {
  const mean = (spots) => sum(spots.map((spot) => spot.x)) / spots.length;
  // Edges that pass by move no operator.
  const wish = (spots, x) => {
    const boxes = spots.filter((spot) => spot.node !== undefined);
    return boxes.length > 0 ? mean(boxes) : spots.length > 0 ? mean(spots) : x;
  };
  const settle = (layer, side) => {
    layer.forEach((spot) => { spot.wish = wish(spot[side], spot.x); });
    layer.sort((a, b) => a.wish - b.wish);
    let edge = -Infinity;
    layer.forEach((spot) => {
      spot.x = Math.max(spot.wish, edge + widthOf(spot) / 2);
      edge = spot.x + widthOf(spot) / 2 + ACROSS;
    });
    // Back by what the operators (not the stops) were pushed aside on the average.
    const boxes = layer.filter((spot) => spot.node !== undefined);
    const pushed = boxes.length === 0 ? layer : boxes;
    const shift = sum(pushed.map((spot) => spot.x - spot.wish)) / Math.max(1, pushed.length);
    layer.forEach((spot) => { spot.x -= shift; });
  };
  for (let sweep = 0; sweep < 4; sweep++) {
    layers.forEach((layer) => settle(layer, "above"));
    [...layers].reverse().forEach((layer) => settle(layer, "below"));
  }
  layers.forEach((layer) => settle(layer, "above"));
  const all = layers.flat();
  const left = Math.min(...all.map((spot) => spot.x - widthOf(spot) / 2));
  all.forEach((spot) => { spot.x += 8 - left; });
  return Math.max(...all.map((spot) => spot.x + widthOf(spot) / 2)) + 8;
}

/** The end of a long name, which tells it from others. */
const cut = (name, length) => (name.length > length ? `…${name.slice(1 - length)}` : name);

/** Draws the network; `choose` gets the position of a node that is chosen. */
function networkGraph(report, place, keyPlace, choose) {
  keyPlace.append(key(BITS.map((bits) => [bitsColour(bits), bitsName(bits)])));
  const { layers, chains } = layered(report.nodes);
  const width = arrange(layers);
  layers.forEach((layer, at) => layer.forEach((spot) => { spot.y = 8 + at * (HIGH + DOWN); }));
  const tensors = report.nodes.map(() => []);
  report.tensors.forEach((tensor) => { if (tensor.node !== undefined) tensors[tensor.node].push(tensor); });
  // Curves lie between layers only; beside boxes edges are straight.
  const edge = (chain) => {
    const parts = chain.slice(1).map((to, at) => {
      const from = chain[at];
      const [start, end] = [from.y + HIGH, to.y];
      const half = (start + end) / 2;
      const beside = to.node === undefined ? `V${end + HIGH}` : "";
      return `${at === 0 ? `M${from.x} ${start}` : ""}C${from.x} ${half} ${to.x} ${half} ${to.x} ${end}${beside}`;
    });
    return svg("path", { class: "edge", d: parts.join("") });
  };
  const box = (spot) => {
    const node = report.nodes[spot.node];
    const of = (kind) => tensors[spot.node].filter((tensor) => tensor.kind === kind);
    const output = of("output")[0];
    const bits = output ? bitsOf(output) : 0;
    const words = (tensor) => `${tensor.kind} ${tensor.name}: ${bitsOf(tensor) === 0 ? "stored nowhere" : tensor.format}`;
    const assigned = [output, ...of("parameter"), ...of("output gradient"), ...of("parameter gradient")].filter(Boolean);
    const title = [`${node.op} ${node.name}`, ...assigned.map(words)].join("\n");
    const square = (kind, at) => {
      const [tensor] = of(kind);
      return tensor && svg("rect", {
        class: "square", x: BOX - 40 + 12 * at, y: HIGH - 14, width: 9, height: 9, fill: bitsColour(bitsOf(tensor)),
      });
    };
    const press = () => {
      place.querySelectorAll(".node.chosen").forEach((other) => other.classList.remove("chosen"));
      group.classList.add("chosen");
      choose(spot.node);
    };
    const group = svg("g", {
      class: bits === 0 ? "node nowhere" : "node", transform: `translate(${spot.x - BOX / 2} ${spot.y})`, tabindex: "0", role: "button",
      "aria-label": `${node.op} ${node.name}, output ${bitsName(bits)}`, "data-node": spot.node, onclick: press,
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        press();
      },
    },
    svg("title", {}, title),
    svg("rect", { class: "box", width: BOX, height: HIGH, rx: 6, fill: bitsColour(bits) }),
    svg("text", { x: 8, y: 15 }, cut(node.name, 24)),
    svg("text", { class: "op", x: 8, y: 31 }, cut(output && bits > 0 ? `${node.op} · ${output.format}` : node.op, 24)),
    ["parameter", "output gradient", "parameter gradient"].map(square));
    return group;
  };
  const height = 16 + layers.length * (HIGH + DOWN) - DOWN;
  const boxes = layers.flat().filter((spot) => spot.node !== undefined).sort((a, b) => a.node - b.node);
  place.replaceChildren(svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "network" }, chains.map(edge), boxes.map(box)));
}
