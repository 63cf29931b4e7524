/** Numbers as people type and paste them. */

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const GROUPED = /^[+-]?\d{1,3}([,_\s]\d{3})+$/;
const DECIMAL_COMMA = /^[+-]?\d*,\d+(e[+-]?\d+)?$/i;

/** 2e-4, 0,0002, 2,048, 1 000, also with full-width digits or a typographic minus. Undefined where it is no number. */
export function numberOf(text: string, whole: boolean): number | undefined {
  const plain = text.normalize("NFKC").replaceAll("−", "-").trim();
  const written =
    whole && GROUPED.test(plain)
      ? plain.replace(/[,_\s]/g, "")
      : !whole && DECIMAL_COMMA.test(plain)
        ? plain.replace(",", ".")
        : plain;
  const number = NUMBER.test(written) ? Number(written) : Number.NaN;
  return Number.isFinite(number) ? number : undefined;
}

/** One step up or down, without the digits that binary fractions leave behind. */
export const stepped = (from: number, by: number): number => Number((from + by).toPrecision(12));
