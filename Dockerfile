# AWS Lambda container, the last stage and so the default:
#   docker build -t headstand .
#   docker run --rm -p 8080:8080 headstand     and in another terminal: python test.py
# HTTP service (docs/service.md):
#   docker build -t headstand-web --target web .
#   docker run --rm -p 8000:8000 --read-only --tmpfs /tmp headstand-web
# SageMaker endpoint (docs/sagemaker.md); its model comes with it:
#   docker build -t headstand-endpoint --target endpoint .
# Another model: --build-arg MODEL=runs/NAME/TIME/NAME.tflite
ARG BASE_IMAGE=public.ecr.aws/lambda/python:3.12
ARG WEB_BASE_IMAGE=docker.io/library/python:3.12-slim

# What is installed here for the machine that will run it (--platform linux/arm64 or linux/amd64) is fetched by the machine
# that builds, and the last stage runs nothing: neither kind of image needs the other kind of machine, or an emulator.
FROM --platform=${BUILDPLATFORM} ${BASE_IMAGE} AS packages
ARG TARGETARCH
WORKDIR /build
RUN python -m pip install --no-cache-dir pipenv==2026.10.3
COPY Pipfile Pipfile.lock ./
# Exactly what the lock names, checked against its hashes, and nothing that would need a compiler. Neither TensorFlow nor
# Flask is among it. The base image's own Python installs it, so the wheels fit.
RUN case "${TARGETARCH:-$(uname -m)}" in arm64 | aarch64) machine=aarch64 ;; *) machine=x86_64 ;; esac \
    && python -m pipenv requirements --categories lambda --hash > requirements.txt \
    && python -m pip install --no-cache-dir --require-hashes --only-binary :all: --no-compile --target /packages \
        --platform manylinux_2_28_${machine} --platform manylinux_2_27_${machine} \
        --platform manylinux_2_17_${machine} --platform manylinux2014_${machine} -r requirements.txt
# Left out: LiteRT's graphics and its compilers for other chips, tests, a codec of a format that is not taken. Compiled
# now, since a function may write nowhere but in /tmp and would compile at every start; by content, since a layer's
# times may not be kept.
RUN cd /packages \
    && rm -rf bin ai_edge_litert/libLiteRtWebGpuAccelerator.so ai_edge_litert/aot ai_edge_litert/tools \
        ai_edge_litert/vendors PIL/_avif* pillow.libs/libavif* numpy/tests numpy/*/tests \
    && python -m compileall -q --invalidation-mode unchecked-hash .

FROM --platform=${BUILDPLATFORM} ${BASE_IMAGE} AS code
WORKDIR /code
COPY headstand/__init__.py headstand/cores.py headstand/errors.py headstand/inputs.py headstand/quiet.py headstand/
COPY headstand/images headstand/images
COPY headstand/poses/__init__.py headstand/poses/heatmap_file.py headstand/poses/heatmap_input.py headstand/poses/
COPY headstand/serve headstand/serve
COPY lambda_function.py ./
# Lambda runs it as a user of its own, whatever the modes in the checkout are.
RUN python -m compileall -q --invalidation-mode unchecked-hash . && chmod -R a+rX .

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
COPY headstand/__init__.py headstand/cores.py headstand/errors.py headstand/inputs.py headstand/quiet.py headstand/
COPY headstand/images headstand/images
COPY headstand/poses/__init__.py headstand/poses/heatmap_file.py headstand/poses/heatmap_input.py headstand/poses/
COPY headstand/cli/__init__.py headstand/cli/command.py headstand/cli/
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

FROM web AS endpoint
# The model is the one that SageMaker unpacks under /opt/ml/model.
ENV HEADSTAND_MODEL=
# SageMaker runs every container as root, and warns of others.
USER 0:0
EXPOSE 8080
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "headstand.serve.endpoint"]
CMD ["serve"]

FROM ${BASE_IMAGE}
# Where Lambda's base images look for the handler.
WORKDIR /var/task
COPY --from=packages /packages ./
COPY --from=code /code ./
ENV HEADSTAND_MODEL=/var/task/model.tflite
CMD ["lambda_function.lambda_handler"]
# Last, so that another model is another small layer and nothing else.
ARG MODEL=models/yoga6/yoga6.tflite
COPY --chmod=644 ${MODEL} model.tflite
