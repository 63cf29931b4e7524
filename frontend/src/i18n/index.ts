/** One small JSON file per feature and language; the browser's language unless the user chose one. */

import i18next from "i18next";
import { initReactI18next } from "react-i18next";

const STORED = "i18nextLng";
export const LANGUAGES = { en: "English", "zh-CN": "中文" } as const;
export type Language = keyof typeof LANGUAGES;

const files = import.meta.glob<{ default: Record<string, string> }>("./*/*.json", { eager: true });

export function startI18n() {
  const resources: Record<string, Record<string, Record<string, string>>> = {};
  for (const [path, file] of Object.entries(files)) {
    const [, language = "", feature = ""] = /\.\/([^/]+)\/([^/]+)\.json/.exec(path) ?? [];
    resources[language] = { ...resources[language], [feature]: file.default };
  }
  i18next.use(initReactI18next).init({
    resources,
    lng: chosenLanguage(),
    fallbackLng: "en",
    defaultNS: "shell",
    interpolation: { escapeValue: false },
  });
  document.documentElement.lang = i18next.language;
}

function chosenLanguage(): Language {
  const wanted = localStorage.getItem(STORED) ?? navigator.language;
  return wanted.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

export function setLanguage(language: Language) {
  localStorage.setItem(STORED, language);
  document.documentElement.lang = language;
  void i18next.changeLanguage(language);
}
