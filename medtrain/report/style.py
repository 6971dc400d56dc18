"""The report's style sheet: readable on a phone, on a desktop, in the dark and on paper, with no font to fetch."""

CSS = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #5b6875; --line: #dfe4e9; --back: #f6f7f9; --card: #fff;
  --link: #0b5cad; --warn-ink: #6b4700; --warn-back: #fff4d6; --warn-line: #e3b341; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa7b3; --line: #333d47; --back: #14191f;
  --card: #1c232b; --link: #79b8ff; --warn-ink: #ffdf9e; --warn-back: #3a2d10; --warn-line: #9a7420; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); line-height: 1.5; overflow-wrap: anywhere;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; max-width: 46rem; }
.kicker, .note, figcaption { color: var(--soft); font-size: .88rem; }
.kicker { margin: 0 0 1rem; }
.summary { font-size: 1.08rem; margin: 1rem 0; }
.banner { background: var(--warn-back); color: var(--warn-ink); border: 1px solid var(--warn-line);
  border-radius: .5rem; padding: .65rem .9rem; max-width: none; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { text-align: left; padding: .42rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; font-size: .84rem; white-space: nowrap; }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.interval { color: var(--soft); white-space: nowrap; }
td .interval { display: block; font-size: .78rem; }
.names tbody th { min-width: 6rem; overflow-wrap: break-word; }
.names td:not(.number) { min-width: 6rem; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem;
  align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem; }
figure img { display: block; width: 100%; max-width: 42rem; height: auto; margin: 0 auto; border-radius: .3rem;
  background: #fff; }
figcaption { margin-top: .6rem; }
figcaption b { color: var(--ink); }
.facts th { width: 11rem; color: var(--soft); font-weight: 500; }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem;
  margin-top: 2.2rem; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font-size: .82rem; line-height: 1.4; overflow-wrap: normal; }
@media (max-width: 34rem) { th, td { padding: .38rem .5rem; } .facts th { width: 7.5rem; } main { padding-top: 1rem; } }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --back: #fff; --card: #fff; --warn-ink: #000;
  --warn-back: #fff; --warn-line: #000; } body { font-size: 10pt; } main { max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; } }
"""
