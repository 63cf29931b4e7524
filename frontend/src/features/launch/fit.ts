import type { Estimate } from "../../api/types";

export const FIT_COLOURS: Record<Estimate["fit"], string> = { yes: "teal", tight: "yellow", no: "red" };
