/** Arithmetic of the range of steps that charts show. null is all of them. */

import type { Range } from "./TimeSeries";

const LEAST_STEPS = 2;

/** ``factor`` times as wide around ``centre`` (0 is the left edge, 1 the right); null when nothing is left out any more. */
export function zoomed(range: Range, extent: Range, factor: number, centre = 0.5): Range | null {
  const width = Math.max(LEAST_STEPS, (range.max - range.min) * factor);
  if (width >= extent.max - extent.min) return null;
  const min = range.min + (range.max - range.min - width) * centre;
  return within({ min, max: min + width }, extent);
}

/** Moved by a share of its width, as far as there are steps. */
export function moved(range: Range, extent: Range, share: number): Range | null {
  const by = (range.max - range.min) * share;
  const next = within({ min: range.min + by, max: range.max + by }, extent);
  return next.min <= extent.min && next.max >= extent.max ? null : next;
}

function within(range: Range, extent: Range): Range {
  const width = range.max - range.min;
  const min = Math.max(extent.min, Math.min(range.min, extent.max - width));
  return { min, max: min + width };
}

/** Wheel with Ctrl zooms at the pointer, a sideways wheel (or with Shift) moves; any other scrolls the page as ever. */
export function onWheel(
  element: HTMLElement,
  now: () => { range: Range | null; extent: Range | null },
  look: (range: Range | null) => void,
): () => void {
  const turn = (event: WheelEvent) => {
    const { range, extent } = now();
    if (!extent) return;
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey) {
      const box = element.getBoundingClientRect();
      const centre = (event.clientX - box.left) / box.width;
      look(zoomed(range ?? extent, extent, event.deltaY < 0 ? 0.8 : 1.25, centre));
    } else if (Math.abs(sideways) > (event.shiftKey ? 0 : Math.abs(event.deltaY)))
      look(moved(range ?? extent, extent, Math.sign(sideways) * 0.1));
    else return;
    event.preventDefault();
  };
  element.addEventListener("wheel", turn, { passive: false });
  return () => element.removeEventListener("wheel", turn);
}
