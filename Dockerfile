# AWS Lambda container:
#   docker build -t headstand .
#   docker run --rm -p 8080:8080 headstand     and in another terminal: python test.py
# Another model: --build-arg MODEL=runs/NAME/TIME/NAME.tflite
ARG BASE_IMAGE=public.ecr.aws/lambda/python:3.12

FROM ${BASE_IMAGE} AS packages
WORKDIR /build
RUN python -m pip install --no-cache-dir pipenv==2026.10.3
COPY Pipfile Pipfile.lock ./
# Exactly what the lock names, checked against its hashes, and nothing that would need a compiler. Neither TensorFlow nor
# Flask is among it. The base image's own Python installs it, so the wheels fit.
RUN python -m pipenv requirements --categories lambda --hash > requirements.txt \
    && python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /packages -r requirements.txt

FROM ${BASE_IMAGE}
ARG MODEL=models/yoga6/yoga6.tflite
# Where Lambda's base images look for the handler.
WORKDIR /var/task
COPY --from=packages /packages ./
COPY headstand/__init__.py headstand/encoded.py headstand/errors.py headstand/images.py headstand/
COPY headstand/serve headstand/serve
COPY lambda_function.py ./
COPY ${MODEL} model.tflite
ENV HEADSTAND_MODEL=/var/task/model.tflite
CMD ["lambda_function.lambda_handler"]
