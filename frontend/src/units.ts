/** Bytes and durations for people: the only place of the page that rounds. */

const UNITS: [string, number][] = [
  ["GiB", 1024 ** 3],
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
];

/** Binary units, e.g. "17.3 GiB"; unknown stays unknown. */
export function formatBytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return "–";
  for (const [unit, size] of UNITS) {
    if (Math.abs(bytes) >= size) return `${(bytes / size).toFixed(1)} ${unit}`;
  }
  return `${bytes} B`;
}

const SECONDS = { hour: 3600, minute: 60, second: 1 } as const;
const SIGNS = { hour: "h", minute: "min", second: "s" } as const;
type TimeUnit = keyof typeof SECONDS;

/** "1 h 5 min", "2 min 3 s", "48 s"; in the page's language. */
export function formatDuration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "–";
  const [large, small]: [TimeUnit, TimeUnit] = seconds >= 3600 ? ["hour", "minute"] : ["minute", "second"];
  if (seconds < 60) return inUnit(Math.round(seconds), "second");
  const whole = Math.floor(seconds / SECONDS[large]);
  return `${inUnit(whole, large)} ${inUnit(Math.floor((seconds % SECONDS[large]) / SECONDS[small]), small)}`;
}

/** A limit as somebody set it: "10 min" where it is of whole minutes or hours. */
export function formatLimit(seconds: number): string {
  const unit = (["hour", "minute"] as const).find((name) => seconds % SECONDS[name] === 0);
  return unit && seconds > 0 ? inUnit(seconds / SECONDS[unit], unit) : formatDuration(seconds);
}

function inUnit(value: number, unit: TimeUnit): string {
  const { lang } = document.documentElement;
  if (!lang.startsWith("zh")) return `${value} ${SIGNS[unit]}`;
  return new Intl.NumberFormat(lang, { style: "unit", unit, unitDisplay: "short" }).format(value);
}

export function formatNumber(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2);
  return Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

/** A step tells a loss that is no number as null; without a step there is none. */
export function formatLoss(loss: number | null | undefined): string {
  return loss === null ? "NaN" : formatNumber(loss);
}

/** A moment (Unix seconds) in the reader's own zone and language. */
export function formatDate(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(document.documentElement.lang, {
    dateStyle: "medium",
    timeStyle: "short",
  });
}

const AGES: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** How long ago a moment (Unix seconds) was, in the page's language; a date after a week. */
export function formatAgo(seconds: number): string {
  const age = Date.now() / 1000 - seconds;
  if (age > 7 * 86400) return formatDate(seconds);
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang, {
    numeric: "auto",
    style: "short",
  });
  for (const [unit, length] of AGES) if (age >= length) return words.format(-Math.floor(age / length), unit);
  return words.format(0, "second");
}

/** With its sign, since an error has a direction: "+1.2 %". */
export function formatPercent(percent: number): string {
  return `${percent > 0 ? "+" : ""}${percent.toFixed(Math.abs(percent) < 10 ? 2 : 1)} %`;
}

const MOST_DECIMALS = 8;
const BYTE: [string, number] = ["B", 1];
const ROUND = [-3, -2, -1, 0, 1, 2, 3].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));

/** Distances of an axis' marks, round in the unit that ``bytesTicks`` names them in. ``most``: the end of the axis. */
export function bytesMarks(most: number): number[] {
  const [, size] = UNITS.find(([, bytes]) => most >= bytes) ?? BYTE;
  return ROUND.map((count) => count * size).filter((step) => step >= 1);
}

/** Labels of an axis whose marks are ``step`` apart, a distance of ``bytesMarks``: in the unit that it is round in. */
export function bytesTicks(values: number[], step: number): string[] {
  const [unit, size] = UNITS.find(([, bytes]) => ROUND.some((count) => count * bytes === step)) ?? BYTE;
  return values.map((value) => `${(value / size).toFixed(decimals(step / size))} ${unit}`);
}

export function numberTicks(values: number[], step: number): string[] {
  const most = Math.max(...values.map(Math.abs));
  if (most > 0 && most < 1e-3) {
    const count = decimals(step / 10 ** Math.floor(Math.log10(most)));
    return values.map((value) => (value === 0 ? "0" : value.toExponential(count)));
  }
  return values.map((value) => value.toLocaleString("en-US", digits(decimals(step))));
}

function digits(count: number) {
  return { minimumFractionDigits: count, maximumFractionDigits: count };
}

/** Digits after the point that it takes to write multiples of ``step`` as they are: 1 for 0.5, 2 for 0.25. */
function decimals(step: number): number {
  for (let count = 0; count < MOST_DECIMALS; count++) {
    const shifted = step * 10 ** count;
    if (Math.abs(shifted - Math.round(shifted)) < 1e-6 * shifted) return count;
  }
  return MOST_DECIMALS;
}
