/** Uploads a data set file; fetch cannot tell how much has been sent, XMLHttpRequest can. */

import { HEADERS, noAnswer, problemOf } from "./client";
import type { Dataset } from "./types";

/**
 * ``name`` is from the file's if empty. ``onSent`` is told the share of the file that has been sent, 0 to 1; after 1 the server
 * checks every row.
 */
export function uploadDataset(file: File, name: string, onSent: (share: number) => void): Promise<Dataset> {
  const form = new FormData();
  form.append("file", file);
  form.append("name", name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/datasets");
    for (const [name, value] of Object.entries(HEADERS)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.onerror = () => reject(noAnswer());
    request.onload = () => {
      const body = parsed(request.responseText);
      if (request.status === 201) resolve(body as Dataset);
      else reject(problemOf(request.status, body as object));
    };
    request.send(form);
  });
}

/** A proxy's error page is not JSON; then only the status is known. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
