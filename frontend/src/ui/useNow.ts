import { useEffect, useState } from "react";

/** The time in seconds since 1970, anew every so many milliseconds: ages and running times go on between two answers. */
export function useNow(milliseconds: number, going = true): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (!going) return;
    const timer = window.setInterval(() => setNow(Date.now() / 1000), milliseconds);
    return () => window.clearInterval(timer);
  }, [milliseconds, going]);
  return now;
}
