"use strict";
// Looks up in #explorer-data what Python has computed, and shows it. Every text is set as text, never as HTML.
(function () {
  const source = document.getElementById("explorer-data");
  if (!source) return;
  const classes = JSON.parse(source.textContent);
  const at = (name) => document.getElementById("x-" + name);
  const slider = at("slider"), prevalence = at("prevalence"), chooser = at("class");
  const three = (x) => (x === null ? "n/a" : x.toFixed(3));
  const shortly = (t) => String(Number(t.toPrecision(4)));

  // Bayes: from the predictive value at even odds to that at a prevalence; rises with `even`, so intervals follow.
  const atPrevalence = (even, share) =>
    even.map((v) => (v === null || v * share + (1 - v) * (1 - share) === 0
      ? null : (v * share) / (v * share + (1 - v) * (1 - share))));

  function draw() {
    const data = classes[chooser ? Number(chooser.value) : 0];
    const i = Number(slider.value), [tp, fp, fn, tn] = data.counts[i];
    const typed = Number(prevalence.value) / 100;
    const assumed = prevalence.value !== "" && typed > 0 && typed < 1 ? typed : null;
    const observed = (tp + fn) / (tp + fp + fn + tn), share = assumed === null ? observed : assumed;
    const rates = {
      sensitivity: data.sensitivity[i],
      specificity: data.specificity[i],
      ppv: assumed === null ? data.ppv[i] : atPrevalence(data.even_ppv[i], share),
      npv: assumed === null ? data.npv[i] : atPrevalence(data.even_npv[i], 1 - share),
    };
    for (const [name, [value, low, high]] of Object.entries(rates)) {
      at(name).textContent = three(value);
      at(name + "-ci").textContent = low === null ? "n/a" : three(low) + " to " + three(high);
      const bar = at(name + "-bar");
      bar.querySelector(".range").setAttribute("d", low === null ? "" : `M${100 * low} 5H${100 * high}`);
      bar.querySelector(".dot").setAttribute("d", value === null ? "" : `M${100 * value} 1V9`);
    }
    for (const [name, n] of Object.entries({ tp, fp, fn, tn })) at(name).textContent = n.toLocaleString("en");
    const threshold = shortly(data.thresholds[i]), own = data.fitted && i === data.start;
    at("threshold").textContent = threshold + (own ? " (the run's decision)" : "");
    slider.setAttribute("aria-valuetext", threshold);
    at("words").textContent = inWords(rates, share);
    at("prevalence-note").textContent = assumed === null
      ? `PPV and NPV at the prevalence of these cases, ${(100 * observed).toPrecision(3)} %.`
      : `PPV and NPV at a prevalence of ${(100 * share).toPrecision(3)} %, by Bayes' theorem; counts are of these cases.`;
    const point = at("roc").querySelector(".point");
    point.setAttribute("cx", 100 * (1 - rates.specificity[0]));
    point.setAttribute("cy", 100 * (1 - rates.sensitivity[0]));
  }

  function inWords(rates, share) {
    const ill = Math.round(1000 * share), found = Math.round(ill * rates.sensitivity[0]);
    const alarms = Math.round((1000 - ill) * (1 - rates.specificity[0]));
    return `Of 1,000 such cases ${ill} are positive: ${found} would be found and ${ill - found} missed, ` +
      `with ${alarms} false alarms.`;
  }

  function start() {
    const data = classes[chooser ? Number(chooser.value) : 0];
    slider.max = data.thresholds.length - 1;
    slider.value = data.start;
    const points = data.sensitivity.map(([se], k) => `${100 * (1 - data.specificity[k][0])} ${100 * (1 - se)}`);
    at("roc").querySelector(".curve").setAttribute("d", `M100 0L${points.join("L")}L0 100`);
    draw();
  }

  slider.addEventListener("input", draw);
  prevalence.addEventListener("input", draw);
  if (chooser) chooser.addEventListener("change", start);
  at("reset").addEventListener("click", () => { prevalence.value = ""; start(); });
  document.documentElement.classList.add("live");
  start();
})();
