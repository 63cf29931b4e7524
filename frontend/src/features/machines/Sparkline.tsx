import type { Sample } from "./history";

const WIDTH = 300;
const HEIGHT = 36;

/** Used memory over the last minutes, from nothing to the whole GPU; a gap where it was not known. */
export function Sparkline({ samples, full, label }: { samples: Sample[]; full: number; label: string }) {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last || samples.length < 2) return null;
  const span = Math.max(last.at - first.at, 1);
  const place = ({ at, used }: Sample) => {
    const x = (WIDTH * (at - first.at)) / span;
    const y = HEIGHT - 1 - ((HEIGHT - 2) * (used ?? 0)) / full;
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  };
  let path = "";
  let drawing = false;
  for (const sample of samples) {
    if (sample.used !== null) path += `${drawing ? "L" : "M"}${place(sample)}`;
    drawing = sample.used !== null;
  }
  return (
    <svg
      role="img"
      aria-label={label}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      style={{ width: "100%", height: HEIGHT, display: "block", marginTop: 10 }}
    >
      <title>{label}</title>
      <line x1={0} x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} stroke="light-dark(#ced4da, #3b4046)" />
      <path
        d={path}
        fill="none"
        stroke="light-dark(#087f5b, #38d9a9)"
        strokeWidth={1.5}
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  );
}
