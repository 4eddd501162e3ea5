const THEME_KEY = "gspn-studio-theme";
const status = element.querySelector(".status");
const machine = element.querySelector(".machine");

function showStatus() {
  const value = props.value || {};
  status.textContent = value.status || "";
  machine.textContent = value.machine ? ` · ${value.machine}` : "";
  status.classList.toggle("busy", Boolean(status.textContent));
}

function setTheme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  document.body.classList.toggle("dark", dark);
}

const remembered = localStorage.getItem(THEME_KEY);
if (remembered) setTheme(remembered === "dark");

element.querySelector(".theme").addEventListener("click", () => {
  const dark = !document.body.classList.contains("dark");
  setTheme(dark);
  localStorage.setItem(THEME_KEY, dark ? "dark" : "light");
});

element.querySelector(".explain").addEventListener("click", (event) => {
  const on = document.getElementById("studio").classList.toggle("explain");
  event.currentTarget.setAttribute("aria-pressed", String(on));
});

watch("value", showStatus);
showStatus();
