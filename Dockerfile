# AWS Lambda container, the last stage and so the default:
#   docker build -t headstand .
#   docker run --rm -p 8080:8080 headstand     and in another terminal: python test.py
# HTTP service (docs/service.md):
#   docker build -t headstand-web --target web .
#   docker run --rm -p 8000:8000 --read-only --tmpfs /tmp headstand-web
# Another model: --build-arg MODEL=runs/NAME/TIME/NAME.tflite
ARG BASE_IMAGE=public.ecr.aws/lambda/python:3.12
ARG WEB_BASE_IMAGE=docker.io/library/python:3.12-slim

FROM ${BASE_IMAGE} AS packages
WORKDIR /build
RUN python -m pip install --no-cache-dir pipenv==2026.10.3
COPY Pipfile Pipfile.lock ./
# Exactly what the lock names, checked against its hashes, and nothing that would need a compiler. Neither TensorFlow nor
# Flask is among it. The base image's own Python installs it, so the wheels fit.
RUN python -m pipenv requirements --categories lambda --hash > requirements.txt \
    && python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /packages -r requirements.txt

FROM ${WEB_BASE_IMAGE} AS web-packages
WORKDIR /build
RUN python -m pip install --no-cache-dir pipenv==2026.10.3
COPY Pipfile Pipfile.lock ./
RUN python -m pipenv requirements --categories serve --hash > requirements.txt \
    && python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /packages -r requirements.txt

FROM ${WEB_BASE_IMAGE} AS web
ARG MODEL=models/yoga6/yoga6.tflite
# Pictures for the page, named after the model's classes; those of other classes are not shown.
ARG SAMPLES=models/yoga6/samples
WORKDIR /srv
COPY --from=web-packages /packages /packages
COPY headstand/__init__.py headstand/command.py headstand/encoded.py headstand/errors.py headstand/heatmaps.py headstand/images.py headstand/inputs.py headstand/quiet.py headstand/
COPY headstand/serve headstand/serve
COPY predict.py gunicorn.conf.py ./
COPY ${MODEL} model.tflite
COPY ${SAMPLES} samples
ENV PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HEADSTAND_MODEL=/srv/model.tflite
# Compiled now, since the one who runs it may write nowhere but under /tmp.
RUN python -m compileall -q /packages /srv
USER 65534:65534
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["python", "-m", "gunicorn", "predict:app", "--bind", "0.0.0.0:8000"]

FROM ${BASE_IMAGE}
ARG MODEL=models/yoga6/yoga6.tflite
# Where Lambda's base images look for the handler.
WORKDIR /var/task
COPY --from=packages /packages ./
COPY headstand/__init__.py headstand/encoded.py headstand/errors.py headstand/heatmaps.py headstand/images.py headstand/inputs.py headstand/quiet.py headstand/
COPY headstand/serve headstand/serve
COPY lambda_function.py ./
COPY ${MODEL} model.tflite
ENV HEADSTAND_MODEL=/var/task/model.tflite
CMD ["lambda_function.lambda_handler"]
