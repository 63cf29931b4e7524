/** Who wants to hear of a change. */

export type Listener = () => void;

export function subscribe(listeners: Set<Listener>, listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
