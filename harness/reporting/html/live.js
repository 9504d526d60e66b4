"use strict";
// The state of a run that goes on, asked for again and again; texts enter the page as text.
const $ = (id) => document.getElementById(id);

function row(arm) {
  const line = document.createElement("tr");
  const share = arm.judged ? `${((100 * arm.passed) / arm.judged).toFixed(1)} %` : "—";
  [arm.condition, arm.done, arm.total, arm.failed, share, arm.judged].forEach((value, column) => {
    const cell = document.createElement(column ? "td" : "th");
    if (!column) cell.scope = "row";
    cell.textContent = value;
    line.append(cell);
  });
  return line;
}

function show(state) {
  $("name").textContent = state.experiment;
  const told = `${state.phase} (since ${state.started})`;
  if ($("state").textContent !== told) $("state").textContent = told;
  $("bar").max = Math.max(1, state.total);
  $("bar").value = state.done;
  $("counts").textContent = `${state.done} of ${state.total} answered, ${state.failed} failed`;
  $("arms").replaceChildren(...state.arms.map(row));
}

async function ask() {
  try {
    const answer = await fetch("live.json", { cache: "no-store" });
    if (answer.ok) show(await answer.json());
    else if ((await fetch("report.html", { method: "HEAD" })).ok) location.replace("report.html");
    else $("state").textContent = "The run has ended without a report; the same command goes on.";
  } catch (error) {
    $("state").textContent = `No answer from harness view (${error.message}).`;
  }
  setTimeout(ask, 1000);
}

ask();
