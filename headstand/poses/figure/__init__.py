"""3D renderer for the demo data: poses as joint angles, a skeleton, a body mesh, a camera and a background scene."""
