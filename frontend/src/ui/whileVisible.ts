/** Does something only while its page is in sight, since a browser grants all tabs of a server six connections together. */

/** ``begin`` returns how to end what it began. It is called again whenever the page is back. Returns how to end it for good. */
export function whileVisible(begin: () => () => void): () => void {
  let end: (() => void) | undefined;
  const follow = () => {
    if (document.visibilityState === "visible") end ??= begin();
    else {
      end?.();
      end = undefined;
    }
  };
  follow();
  document.addEventListener("visibilitychange", follow);
  return () => {
    document.removeEventListener("visibilitychange", follow);
    end?.();
  };
}
