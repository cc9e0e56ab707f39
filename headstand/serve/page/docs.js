// Descriptions become text. Swagger UI would set them as HTML, which the Content-Security-Policy forbids.
const descriptionsAsText = {
  wrapComponents: {
    Markdown: (original, { React }) => ({ source }) => React.createElement("p", null,
      (source ?? "").split("`").map((text, index) => index % 2
        ? React.createElement("code", { key: index }, text)
        : text)),
  },
};

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [descriptionsAsText],
  tryItOutEnabled: true,
  validatorUrl: null,
});
