const THEME_KEY = "gspn-studio-theme";
const status = element.querySelector(".status");

function showStatus() {
  status.textContent = (props.value && props.value.status) || "";
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

watch("value", showStatus);
showStatus();
